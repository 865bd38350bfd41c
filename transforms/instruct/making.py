"""Make the dialogues that are planned about the images of one pool shard; what was made stays."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.dialogue import Dialogue, DialogueFault, Kind, Making, Turn, dialogue_id
from transforms.instruct.annotations import Annotations, read_annotations
from transforms.instruct.labels import Labels
from transforms.instruct.objects import Vocabulary
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject
from transforms.instruct.template import Known, make_turns, possible, templates_sha256
from transforms.shards.measures import read_measure

Row = dict[str, Any]

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
        ("repaired", pa.bool_()),
        ("made", pa.struct([(name, pa.string()) for name in Making.model_fields])),
    ]
)


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes dialogues by a policy."""

    policy: InstructPolicy
    annotations: Annotations
    vocabulary: Vocabulary
    labels: Labels

    def possible(self, subject: Subject) -> list[str]:
        """The kinds that are wanted and that what is known of an image gives."""
        found = possible(self._known(subject))
        return [kind.value for kind in self.policy.kinds if kind in found]

    def make(self, subject: Subject, kind: Kind, number: int) -> Row:
        """One row of MADE_SCHEMA."""
        rng = random.Random(f"{self.policy.seed} {dialogue_id(subject.uid, kind, number)}")
        turns = make_turns(kind, self._known(subject), rng)
        made = Making(
            backend="template",
            model="template",
            source="symbolic",
            prompt=kind.value,
            prompt_sha256=templates_sha256(),
        )
        return {
            "uid": subject.uid,
            "kind": kind.value,
            "number": number,
            "context": subject.digest,
            "language": self.policy.language,
            "turns": [turn.model_dump() for turn in turns or ()],
            "fault": None if turns else DialogueFault.NO_REPLY.value,
            "detail": None if turns else "nothing known of the image gives one",
            "repaired": False,
            "made": made.model_dump(),
        }

    def _known(self, subject: Subject) -> Known:
        return Known(subject.context, self.policy.language, self.vocabulary, self.labels)


def load_maker(policy: InstructPolicy) -> Maker:
    """With the annotations that the policy names.

    Raises: BadInputError: they cannot be read, or are not what they should be."""
    annotations = read_annotations(policy.annotations)
    labels = Labels(annotations.by_name.values(), policy.negatives)
    return Maker(policy, annotations, Vocabulary(labels.names), labels)


def make_missing(
    planned: Sequence[Row], subjects: Mapping[str, Subject], made: pa.Table, maker: Maker
) -> pa.Table:
    """MADE_SCHEMA: what is planned and was not made yet of what is known now."""
    there = {_name(row) for row in _keys(made)}
    rows = [
        maker.make(subjects[row["uid"]], Kind(row["kind"]), row["number"])
        for row in planned
        if _name(row | {"context": subjects[row["uid"]].digest}) not in there
    ]
    return pa.Table.from_pylist(rows, schema=MADE_SCHEMA)


def read_planned(
    planned: Sequence[Row], subjects: Mapping[str, Subject], measure: Path, shard: int
) -> list[Row]:
    """The rows of MADE_SCHEMA that a plan names, in its order."""
    made = {_name(row): row for row in read_measure(measure, shard).to_pylist()}
    return [made[_name(row | {"context": subjects[row["uid"]].digest})] for row in planned]


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


def _keys(made: pa.Table) -> Iterator[Row]:
    if made.num_rows:
        yield from made.select(["uid", "kind", "number", "context"]).to_pylist()


def _name(row: Row) -> tuple[str, str, int, str]:
    return row["uid"], row["kind"], row["number"], row["context"]
