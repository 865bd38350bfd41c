"""What all measures of duplicates share: which of a cluster is kept, and how the others end."""

from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, StrictBool

from schemas.outcome import Reason, Stage
from transforms.decide.rule import F64, I64, Rule, Verdict, listed
from transforms.shards.ordered import find_in
from transforms.shards.uids import halves

Keep = Literal["clip_score", "resolution", "first"]
SIDES = ("original_width", "original_height")


class Nodes(NamedTuple):
    """What may be each other's duplicates: images, or single rows."""

    of_row: I64  # (rows,): the node of each row that was gathered
    best_row: I64  # (N,): of each node, which stands for it: a place among the rows
    rank: I64  # (N,): 0 to N - 1, 0 for the node that is kept before all others


class Kept(NamedTuple):
    """What is kept instead of each node: itself, or the keeper of its cluster."""

    keeper: I64  # (N,): a node
    value: F64 | None  # (N,): how near the keeper is, where that is a number


class DuplicateRule(Rule):
    """Base of the rules that keep one of a cluster and drop what is too like it.

    Where images are compared, rows with one URL are one image with several captions: they stay or
    go together, and are never each other's duplicates."""

    stage = Stage.DEDUPE
    reason: ClassVar[Reason]
    keep: Keep | None = Field(
        default=None,
        description="Which of a cluster stays: the best by `clip_score`, the highest `resolution`,"
        " or the `first` row; ties by uid. Default: clip_score where the recipe has such a rule,"
        " else resolution.",
    )
    clip: str | None = Field(
        default=None,
        description="The model whose score decides; default: that of the recipe's clip_score rule.",
    )
    give_captions: StrictBool = Field(
        default=False,
        description="Captions of dropped images become alternatives of the one kept instead.",
    )

    @property
    def same(self) -> tuple[str, ...]:
        """Columns, of the pool or MEASURE.COLUMN, by which duplicates are told."""
        raise NotImplementedError

    @property
    def score(self) -> tuple[str, ...]:
        """The CLIP score that decides which is kept, where one does."""
        return (f"clip-{self.clip or 'pocket'}.score",) if self.keep == "clip_score" else ()

    def with_default_keep(self, model: str) -> Self:
        """The same where the recipe scores by a CLIP model."""
        if self.keep not in (None, "clip_score"):
            return self
        return self.model_copy(update={"keep": "clip_score", "clip": self.clip or model})

    @property
    def columns(self) -> tuple[str, ...]:
        captions = ("caption",) if self.give_captions else ()
        return (*(name for name in self.same if "." not in name), *self._sides, *captions)

    @property
    def measured(self) -> tuple[str, ...]:
        return (*(name for name in self.same if "." in name), *self.score)

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("row", "uid", "image", *self.same, *self._sides, *self.score)

    def settle(self, gathered: pa.Table) -> pa.Table:
        """A line for each row to drop, sorted by row: what is kept instead, and how near it is."""
        nodes = self.nodes(gathered)
        return lines_of(gathered, nodes, self.keepers(gathered, nodes))

    def keepers(self, gathered: pa.Table, nodes: Nodes) -> Kept:
        """What is kept instead of each node."""
        raise NotImplementedError

    def told(self, value: float, keeper: str) -> str:
        """Why a row is dropped, for people; `keeper` names what is kept instead."""
        raise NotImplementedError

    @property
    def limit(self) -> float | None:
        """What the value of a dropped row was compared with."""
        return None

    @property
    def of_rows(self) -> bool:
        """Whether rows are compared, each by itself, rather than images."""
        return False

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        dropped, lines = find_in(rows["row"].to_numpy(), outcome["row"].to_numpy())
        _, values = listed(rows, outcome, "value")

        def told(i: int) -> str:
            if not dropped[i]:  # as `not` asks
                return "nothing that stays is like it"
            row, uid = (outcome[name][int(lines[i])] for name in ("keeper_row", "keeper_uid"))
            return self.told(values[i], f"row {row}, {uid}")

        given = None
        if self.give_captions:
            given = np.full(rows.num_rows, -1)
            given[dropped] = outcome["keeper_image"].to_numpy()[lines[dropped]]
        return [
            Verdict(
                reason=self.reason,
                dropped=dropped,
                detail=told,
                value=None if self.limit is None else values,
                limit=self.limit,
                given_to=given,
            )
        ]

    @property
    def _sides(self) -> tuple[str, ...]:
        return SIDES if self.keep in (None, "resolution") else ()

    def nodes(self, gathered: pa.Table) -> Nodes:
        """Images, or rows, with the best row of each by what is to be kept."""
        rows = gathered["row"].to_numpy()
        high, low = halves(gathered["uid"])
        order = np.lexsort((rows, low, high, self._worse(gathered)))
        units = rows if self.of_rows else gathered["image"].to_numpy()
        _, of_row = np.unique(units, return_inverse=True)
        _, firsts = np.unique(of_row[order], return_index=True)
        return Nodes(of_row, best_row=order[firsts], rank=np.argsort(np.argsort(firsts)))

    def _worse(self, gathered: pa.Table) -> npt.NDArray[Any]:
        """(rows,): the lower, the sooner a row is kept. A score that is no number comes last."""
        if self.keep == "first":
            return gathered["row"].to_numpy()
        if self.keep == "clip_score":
            scores = gathered[self.score[0]].to_numpy()
            return np.where(np.isnan(scores), np.inf, -scores)
        width, height = (gathered[side].to_numpy().astype(np.float64) for side in SIDES)
        return -np.nan_to_num(width * height)


def lines_of(gathered: pa.Table, nodes: Nodes, kept: Kept) -> pa.Table:
    """The outcome of a rule: a line for each row of a node that is not its own keeper."""
    rows = gathered["row"].to_numpy()
    doubles = np.flatnonzero((kept.keeper != np.arange(len(kept.keeper)))[nodes.of_row])
    doubles = doubles[np.argsort(rows[doubles])]
    dropped = nodes.of_row[doubles]
    instead = nodes.best_row[kept.keeper[dropped]]  # places among the gathered rows
    return pa.table(
        {
            "row": rows[doubles],
            "keeper_row": rows[instead],
            "keeper_uid": gathered["uid"].take(pa.array(instead)).combine_chunks(),
            "keeper_image": gathered["image"].to_numpy()[instead],
            "value": np.zeros(len(dropped)) if kept.value is None else kept.value[dropped],
        }
    )
