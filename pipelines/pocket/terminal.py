"""What the training programs say, and how they end."""

import sys

import typer

from schemas.errors import PairmillError


def say(line: str) -> None:
    """A line to stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def run(app: typer.Typer) -> None:
    """Run a program's command; a foreseen error is one sentence."""
    try:
        app()
    except PairmillError as err:
        say(str(err))
        sys.exit(err.exit_code)
