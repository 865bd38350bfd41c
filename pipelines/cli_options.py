"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="The report as the last line of stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Out = Annotated[Path | None, typer.Option("--out", help="The RUN folder; the same one resumes.")]
Run = Annotated[Path, typer.Argument(help="A RUN folder.", metavar="RUN")]
Decision = Annotated[
    str | None,
    typer.Option(
        help="Another decision than the last run's: the beginning of its fingerprint.",
        show_default=False,
    ),
]
BeamFlags = Annotated[
    list[str] | None,
    typer.Argument(help="Flags for Beam, after --", show_default=False, metavar="-- [BEAM FLAGS]"),
]
