"""Caps: at most so many images of one host, or under one caption."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import functools
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, StrictInt

from schemas.outcome import Reason, Stage
from transforms.decide.rule import Mask, Rule, Verdict, listed
from transforms.shards.uids import draws_of

_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)"


class CapRule(Rule):
    """Base of the caps. Which images stay is drawn by a seed; rows of one image stay together.

    What has no host, or no caption, has nothing in common, and is not capped."""

    stage = Stage.SELECT
    column: ClassVar[str]
    reason: ClassVar[Reason]
    named: ClassVar[str]  # what the groups are, for people
    salt: ClassVar[str]  # of the draws: a part of every decision, whatever the class is called
    at_most: StrictInt = Field(..., ge=1, description="Images that stay of each.")
    seed: StrictInt = Field(default=0, description="Another seed keeps others.")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("row", "image", self.column)

    def groups(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """(rows,) of text: what is counted together."""
        raise NotImplementedError

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Rows (row, of): each row to drop, and how many images its group has. Sorted by row."""
        gathered = gathered.filter(pc.not_equal(self.groups(gathered[self.column]), ""))
        groups, rows = self._numbered(gathered), gathered["row"].to_numpy()
        # No two images draw the same number, so equal ones are rows of one image.
        drawn = draws_of(gathered["image"].to_numpy(), self.salt, self.seed)
        order = np.lexsort((drawn, groups))
        groups, drawn, rows = groups[order], drawn[order], rows[order]
        is_first_of_group = _differs(groups)
        images = np.cumsum(is_first_of_group | _differs(drawn))  # up to here, of all groups
        begins = images[is_first_of_group]
        counts = np.diff(begins, append=images.max(initial=0) + 1)
        group = np.cumsum(is_first_of_group) - 1
        over = np.flatnonzero(images - begins[group] >= self.at_most)
        over = over[np.argsort(rows[over])]
        return pa.table({"row": rows[over], "of": counts[group[over]]})

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        dropped, counts = listed(rows, outcome, "of")
        names = functools.cache(lambda: self.groups(rows[self.column]))

        def told(i: int) -> str:
            name = names()[i].as_py() or f"no {self.named}"
            if not dropped[i]:  # as `not` asks
                return f"{name}: among the {self.at_most:,} images that may stay"
            return f"{name}: {counts[i]:,.0f} images, limit {self.at_most:,}"

        return [
            Verdict(
                reason=self.reason,
                dropped=dropped,
                detail=told,
                value=counts,
                limit=self.at_most,
            )
        ]

    def _numbered(self, gathered: pa.Table) -> npt.NDArray[np.int64]:
        """(rows,): a number for each group."""
        coded = self.groups(gathered[self.column]).dictionary_encode()  # one dictionary for all
        numbers = [chunk.indices.to_numpy() for chunk in coded.chunks]
        return np.concatenate([np.zeros(0, np.int64), *numbers])


def _differs(ordered: npt.NDArray[np.generic]) -> Mask:
    """(N,): whether each differs from the one before it; the first does."""
    return np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]


def hosts(urls: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """(rows,) of text: each URL's host in lower case; empty where it has none.

    The members of an adopted pool have none: a path stands for their URL."""
    found = pc.struct_field(pc.extract_regex(urls, _HOST), [0])
    return pc.utf8_lower(pc.fill_null(found, ""))


class PerHostRule(CapRule):
    """Keep at most so many images of one host."""

    column = "url"
    reason = Reason.HOST_CAP
    named = "host"
    salt = "per_host"

    def groups(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        return hosts(values)


class PerCaptionRule(CapRule):
    """Keep at most so many images under one caption, whatever its case and outer white space."""

    column = "caption"
    reason = Reason.CAPTION_CAP
    named = "caption"
    salt = "per_caption"

    def groups(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        return pc.utf8_lower(pc.utf8_trim_whitespace(values))
