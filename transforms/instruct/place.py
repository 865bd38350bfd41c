"""Where one recipe's dialogues of one name lie in a RUN."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Folders of what is made, what is planned and kept, and what is built."""

    run: Path
    name: str
    measure: Path  # what was made, for ever
    folder: Path  # the plan and the ledgers
    corpus: Path
    files: str  # fingerprint of the files that dialogues are made from

    @property
    def stage(self) -> str:
        """As journals call it."""
        return f"dialogues {self.name}"
