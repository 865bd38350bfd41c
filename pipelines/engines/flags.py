"""Which engine the Beam flags ask for, told without importing Beam."""

from collections.abc import Sequence

from schemas.errors import BadInputError

IN_PROCESS = frozenset({"fnapi", "direct", "switchingdirect"})


def runner_of(flags: Sequence[str]) -> str:
    """The name given to --runner, "FnApiRunner" where there is none; the last one counts.

    Raises: BadInputError: the flag has no value, or names DaskRunner.
    """
    name = flag_value(flags, "--runner") or "FnApiRunner"
    if _short(name) == "dask":
        raise BadInputError(
            "--runner=DaskRunner is not offered, because Beam's runner for Dask loses rows while "
            "it reports success: leave --runner out, or use PortableRunner or FlinkRunner."
        )
    return name


def is_local(flags: Sequence[str]) -> bool:
    """Whether driver and workers run on this machine, as children of the driver.

    DirectRunner counts too: its name picks an engine by the graph's content and first tries to
    download Prism, so Pairmill reads it as the in-process runner (see options.py).
    """
    return _short(runner_of(flags)) in IN_PROCESS


def flag_value(flags: Sequence[str], name: str) -> str | None:
    """The last value of `--name=value` or `--name value`; None where the flag is not given."""
    value = None
    for at, flag in enumerate(flags):
        if flag.startswith(f"{name}="):
            value = flag.partition("=")[2]
        elif flag == name:
            if at + 1 == len(flags) or flags[at + 1].startswith("--"):
                raise BadInputError(f"The Beam flag {name} needs a value.")
            value = flags[at + 1]
    return value


def _short(runner: str) -> str:
    """Beam takes a runner's class path, its class name, or that name without "Runner"."""
    return runner.rpartition(".")[2].lower().removesuffix("runner")
