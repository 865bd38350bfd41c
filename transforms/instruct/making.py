"""Make the dialogues that are planned about the images of one pool shard; what was made stays."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from schemas.dialogue import Dialogue, DialogueFault, Kind, Making, Turn
from schemas.errors import RunFailedError
from transforms.instruct.annotations import Annotations
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject
from transforms.shards.measures import read_measure

Row = dict[str, Any]
Planned = tuple[Subject, Kind, int]  # a dialogue to make: about what, of which kind, its number

MADE_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("kind", pa.string()),
        ("number", pa.int32()),
        ("context", pa.string()),  # digest of what was known of the image
        ("language", pa.string()),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("text", pa.string())]))),
        ("fault", pa.string()),  # a DialogueFault where there is no dialogue; else null
        ("detail", pa.string()),
        ("repaired", pa.bool_()),  # asked once more, as the first reply had a fault
        ("made", pa.struct([(name, pa.string()) for name in Making.model_fields])),
    ]
)


class Images(Protocol):
    """Images of one pool shard."""

    def read(self, key: str) -> tuple[str, bytes]:
        """Extension and encoded bytes."""
        ...


class Maker(Protocol):
    """Makes dialogues by a policy."""

    @property
    def policy(self) -> InstructPolicy: ...

    @property
    def annotations(self) -> Annotations: ...

    def possible(self, subject: Subject) -> list[str]:
        """The kinds that are wanted and that can be made about an image."""
        ...

    @property
    def rounds(self) -> int:
        """How often all images are asked about ahead of `make`, each time after all of them were
        the time before: where replies take hours."""
        ...

    def ask_ahead(self, planned: Sequence[Planned], images: Images, number: int) -> None:
        """Ask what a round does, without waiting for it. Raises: RunFailedError."""
        ...

    def prepare(self, planned: Sequence[Planned], images: Images) -> None:
        """Called once before `make` is, with all that it will be called for."""
        ...

    def make(self, subject: Subject, kind: Kind, number: int, images: Images) -> Row | None:
        """One row of MADE_SCHEMA; None where the budget does not allow it. Threads may call it.

        Raises: RunFailedError: no dialogue can be made."""
        ...


def made_row(
    subject: Subject,
    kind: Kind,
    number: int,
    language: str,
    made: Making,
    turns: Sequence[Turn] = (),
    fault: tuple[DialogueFault, str] | None = None,
    *,
    repaired: bool = False,
) -> Row:
    """A row of MADE_SCHEMA: turns, or why there are none."""
    return {
        "uid": subject.uid,
        "kind": kind.value,
        "number": number,
        "context": subject.digest,
        "language": language,
        "turns": [turn.model_dump() for turn in turns],
        "fault": None if fault is None else fault[0].value,
        "detail": None if fault is None else fault[1],
        "repaired": repaired,
        "made": made.model_dump(),
    }


def make_missing(
    planned: Sequence[Row],
    subjects: Mapping[str, Subject],
    made: pa.Table,
    maker: Maker,
    images: Images,
) -> pa.Table:
    """MADE_SCHEMA: what is planned and was not made yet of what is known now, in its order; without
    what the budget did not allow."""
    asked = missing_of(planned, subjects, made)
    maker.prepare(asked, images)
    with ThreadPoolExecutor(maker.policy.concurrency) as pool:
        under_way = [pool.submit(maker.make, *one, images) for one in asked]
        try:
            found = [future.result() for future in under_way]
        except RunFailedError:
            pool.shutdown(cancel_futures=True)  # a wrong key is not tried again and again
            raise
    return pa.Table.from_pylist([row for row in found if row is not None], schema=MADE_SCHEMA)


def missing_of(
    planned: Sequence[Row], subjects: Mapping[str, Subject], made: pa.Table
) -> list[Planned]:
    """What is planned and was not made yet of what is known now; what gave no reply was not."""
    there = {_name(row) for row in _keys(made)}
    return [
        (subjects[row["uid"]], Kind(row["kind"]), int(row["number"]))
        for row in planned
        if _name(row | {"context": subjects[row["uid"]].digest}) not in there
    ]


def read_planned(
    planned: Sequence[Row], subjects: Mapping[str, Subject], measure: Path, shard: int
) -> list[Row]:
    """The rows of MADE_SCHEMA that a plan names, in its order; the rest was over budget."""
    made = {_name(row): row for row in read_measure(measure, shard).to_pylist()}
    named = [row | {"context": subjects[row["uid"]].digest} for row in planned]
    return [made.get(_name(row)) or _over_budget(row) for row in named]


def as_dialogue(row: Row) -> Dialogue:
    """A row of MADE_SCHEMA as the record it is."""
    return Dialogue(
        uid=row["uid"],
        kind=Kind(row["kind"]),
        number=row["number"],
        language=row["language"],
        images=1,
        turns=tuple(Turn.model_validate(turn) for turn in row["turns"]),
        made=Making.model_validate(row["made"]),
    )


def _over_budget(row: Row) -> Row:
    fault = {"fault": DialogueFault.OVER_BUDGET.value, "detail": "the cap was reached"}
    return row | fault | {"repaired": False}


def _keys(made: pa.Table) -> Iterator[Row]:
    if made.num_rows:
        fault = pc.field("fault")
        answered = fault.is_null() | (fault != DialogueFault.NO_REPLY.value)
        yield from made.filter(answered).select(["uid", "kind", "number", "context"]).to_pylist()


def _name(row: Row) -> tuple[str, str, int, str]:
    return row["uid"], row["kind"], row["number"], row["context"]
