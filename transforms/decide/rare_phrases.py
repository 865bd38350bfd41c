"""LLaVA's choice: captions that have a rare noun phrase."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, StrictInt

from schemas.outcome import Reason, Stage
from transforms.decide.pairs import Ints, least_of, pair_draws, pairs_of
from transforms.decide.rule import Rule, Verdict, listed
from transforms.shards.uids import draws


class RarePhrasesRule(Rule):
    """Keep captions with rare noun phrases: how LLaVA chose 595,000 pairs of CC3M.

    Phrases that fewer than `min_captions` captions have are passed over; of every other phrase
    all captions stay, or a seeded `at_most` of them where it has more. Source: Liu et al. 2023,
    appendix, where the limits are 3 and 100.
    """

    stage = Stage.SELECT
    phrases: str = Field(default="phrases", description="The measure of phrases to go by.")
    min_captions: StrictInt = Field(default=3, ge=1, description="Rarer phrases do not count.")
    at_most: StrictInt = Field(default=100, ge=1, description="Captions that a phrase keeps.")
    seed: StrictInt = Field(default=0, description="Another seed draws others.")

    @property
    def measured(self) -> tuple[str, ...]:
        return (f"{self.phrases}.phrases",)

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("row", "uid", *self.measured)

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Rows (row, captions): each row to drop, and how many captions have its rarest phrase
        that counts, 0 where none does. Sorted by row."""
        pairs = pairs_of(gathered[f"{self.phrases}.phrases"])
        counts = np.bincount(pairs.entries)[pairs.entries]
        known = counts >= self.min_captions
        owners, phrases, counts = pairs.rows[known], pairs.entries[known], counts[known]
        drawn = pair_draws(draws(gathered["uid"], "rare_phrases", self.seed), pairs)[known]
        order = np.lexsort((drawn, phrases))
        kept = np.zeros(gathered.num_rows, np.bool_)
        kept[owners[order[_ranks(phrases[order]) < self.at_most]]] = True
        rarest = least_of(owners, counts, gathered.num_rows)
        rows = gathered["row"].to_numpy()
        dropped = np.flatnonzero(~kept)[np.argsort(rows[~kept])]
        return pa.table({"row": rows[dropped], "captions": rarest[dropped].astype(np.int64)})

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        dropped, counts = listed(rows, outcome, "captions")

        def told(i: int) -> str:
            if not dropped[i]:
                return f"has a phrase for which it is among the {self.at_most:,} drawn"
            if not counts[i]:
                return f"no phrase that {self.min_captions} captions or more have"
            return f"rarest phrase has {counts[i]:,.0f} captions, {self.at_most:,} drawn of each"

        return [
            Verdict(
                reason=Reason.NO_RARE_PHRASE,
                dropped=dropped,
                detail=told,
                value=counts,
                limit=self.at_most,
            )
        ]


def _ranks(ordered: npt.NDArray[np.integer]) -> Ints:
    """(N,): how many equal ones come before, of sorted numbers."""
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    return np.arange(len(ordered)) - np.repeat(begins, np.diff(begins, append=len(ordered)))
