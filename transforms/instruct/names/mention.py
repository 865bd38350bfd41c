"""What it is to name a thing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mention:
    """One place where a text names a thing."""

    name: str  # in the singular
    categories: frozenset[str]  # that it may mean
    count: int | None  # how many there are, where the text says it
    denied: bool  # the text says that it is not there
