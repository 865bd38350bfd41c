"""Exact duplicates: equal bytes under different URLs. The lowest input row is the keeper."""

import numpy as np
import pyarrow as pa

from schemas.outcome import Reason, Stage
from transforms.decide.rule import Rule, Verdict


class ExactDuplicateRule(Rule):
    """Drop an image whose bytes, as fetched, equal those of an image earlier in the list.

    Rows with one URL are one image with several captions and never each other's duplicates.
    """

    stage = Stage.DEDUPE

    @property
    def columns(self) -> tuple[str, ...]:
        return ("sha256",)

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("row", "uid", "image", "sha256")

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Rows (row, keeper_row, keeper_uid): each row to drop, with what is kept instead."""
        rows, images = gathered["row"].to_numpy(), gathered["image"].to_numpy()
        coded = [
            chunk.indices.to_numpy() for chunk in gathered["sha256"].dictionary_encode().chunks
        ]
        codes = np.concatenate([np.zeros(0, np.int32), *coded])  # one for all that are equal
        order = np.lexsort((rows, codes))
        begins = np.flatnonzero(np.diff(codes[order], prepend=-1))  # the keeper of each
        sizes = np.diff(begins, append=len(order))
        keepers = np.empty(len(order), np.int64)
        keepers[order] = np.repeat(order[begins], sizes)
        doubles = np.flatnonzero(images != images[keepers])
        doubles = doubles[np.argsort(rows[doubles])]
        return pa.table(
            {
                "row": rows[doubles],
                "keeper_row": rows[keepers[doubles]],
                "keeper_uid": gathered["uid"].take(pa.array(keepers[doubles])).combine_chunks(),
            }
        )

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        doubles, numbers = outcome["row"].to_numpy(), rows["row"].to_numpy()
        keeper_rows, keeper_uids = outcome["keeper_row"].to_numpy(), outcome["keeper_uid"]
        places = np.searchsorted(doubles, numbers)  # settle leaves them sorted by row

        dropped = np.isin(numbers, doubles)

        def keeper(i: int) -> str:
            if not dropped[i]:
                return "no earlier row has its bytes"
            place = int(places[i])
            return f"same bytes as row {keeper_rows[place]}, {keeper_uids[place].as_py()}"

        return [Verdict(reason=Reason.EXACT_DUPLICATE, dropped=dropped, detail=keeper)]
