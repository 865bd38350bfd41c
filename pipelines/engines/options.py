"""Beam flags to checked options and to the runner they ask for."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, SetupOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners import PipelineRunner, create_runner
from apache_beam.runners.portability.fn_api_runner.fn_runner import (
    ExtendedProvisionInfo,
    FnApiRunner,
)
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipelines.engines.flags import flag_value, is_local, runner_of
from schemas.errors import BadInputError


class _Parser(pipeline_options._BeamArgumentParser):
    """Beam's parser, but a wrong value raises instead of printing 300 lines and exiting."""

    def error(self, message: str) -> NoReturn:
        raise BadInputError(f"The Beam flags cannot be used: {message}.")


def read_options(flags: Sequence[str]) -> PipelineOptions:
    """All of `flags`, with Pairmill's defaults for the in-process runner.

    A remote runner's job service may know more flags than Beam does here (Flink's own, say), so
    only the in-process runner refuses a flag that Beam does not know.

    Raises: BadInputError: an unknown flag, or a value of the wrong type.
    """
    flags = _with_local_defaults(flags) if is_local(flags) else list(flags)
    unknown = _parser().parse_known_args(flags)[1]
    if unknown and is_local(flags):
        raise BadInputError(f"Beam has no flag {unknown[0].partition('=')[0]}.")
    options = PipelineOptions(flags)
    _check_values(options)
    return options


def _check_values(options: PipelineOptions) -> None:
    """Values that Beam accepts, and then hangs or fails with far from their cause."""
    direct, setup = options.view_as(DirectOptions), options.view_as(SetupOptions)
    if direct.direct_num_workers < 1:
        raise BadInputError(
            f"--direct_num_workers={direct.direct_num_workers}: at least one worker is needed."
        )
    for flag in ("requirements_file", "setup_file"):
        named = getattr(setup, flag)
        if named is not None and not Path(named).is_file():
            raise BadInputError(f"--{flag}={named}: there is no such file.")


def runner_for(options: PipelineOptions, flags: Sequence[str]) -> PipelineRunner:
    """The in-process runner with full options for its workers, or the one that --runner names."""
    if not is_local(flags):
        try:
            return create_runner(runner_of(flags))
        except (ValueError, ImportError, AttributeError) as error:
            raise BadInputError(f"--runner={runner_of(flags)} cannot be used: {error}.") from error
    # FnApiRunner by itself hands its workers no options at all; this is what Beam's own
    # DirectRunner does before it falls back to it (direct_runner.py, 2.77).
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return FnApiRunner(provision_info=ExtendedProvisionInfo(provision))
    # This mode would replace the environment given here by Beam's bare worker; pipelines/engines/
    # worker.py dies with its driver and reports errors at once. The workers' options, encoded
    # above, keep the mode.
    direct.direct_running_mode = None
    return FnApiRunner(
        # pyright takes the class for the function that registers it
        default_environment=SubprocessSDKEnvironment.from_command_string(  # pyright: ignore[reportFunctionMemberAccess]
            _worker_command()
        ),
        provision_info=ExtendedProvisionInfo(provision),
    )


def _worker_command() -> str:
    """For /bin/sh; `exec` so that the worker is the driver's own child, without a shell between."""
    return f"exec {shlex.quote(sys.executable)} -m pipelines.engines.worker"


def _with_local_defaults(flags: Sequence[str]) -> list[str]:
    """One worker process a core, unless the flags say otherwise."""
    added: list[str] = []
    mode = flag_value(flags, "--direct_running_mode")
    if mode is None:
        added.append("--direct_running_mode=multi_processing")
    if mode != "in_memory" and flag_value(flags, "--direct_num_workers") is None:
        added.append(f"--direct_num_workers={_cores()}")
    return [*flags, *added]


def _cores() -> int:
    """Cores this process may use: a container often has fewer than the machine."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _parser() -> _Parser:
    parser = _Parser(allow_abbrev=False, add_help=False)
    for group in {str(cls): cls for cls in PipelineOptions.__subclasses__()}.values():
        group._add_argparse_args(parser)
    return parser
