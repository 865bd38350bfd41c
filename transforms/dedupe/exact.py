"""Exact duplicates: equal bytes under different URLs. The lowest input row is the keeper."""

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from schemas.outcome import Reason, Stage
from transforms.decide.rule import Verdict


class ExactDuplicateRule(BaseModel, extra="forbid", frozen=True):
    """Drop an image whose bytes, as fetched, equal those of an image earlier in the list.

    Rows with one URL are one image with several captions and never each other's duplicates.
    """

    @property
    def stage(self) -> Stage:
        return Stage.DEDUPE

    @property
    def measure(self) -> str | None:
        return None

    @property
    def whole_pool(self) -> bool:
        return True

    def gather(self, rows: pa.Table) -> pa.Table:
        return rows.select(["row", "uid", "image", "sha256"])

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Rows (row, keeper_row, keeper_uid): each row to drop, with what is kept instead."""
        rows = gathered.to_pandas().sort_values("row", ignore_index=True)
        keeper = rows.groupby("sha256", sort=False)[["row", "uid", "image"]].transform("first")
        doubles = (rows["image"] != keeper["image"]).to_numpy()
        return pa.table(
            {
                "row": rows["row"].to_numpy(np.int64)[doubles],
                "keeper_row": keeper["row"].to_numpy(np.int64)[doubles],
                "keeper_uid": pa.array(keeper["uid"][doubles], pa.string()),
            }
        )

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        doubles, numbers = outcome["row"].to_numpy(), rows["row"].to_numpy()
        keeper_rows, keeper_uids = outcome["keeper_row"].to_numpy(), outcome["keeper_uid"]
        places = np.searchsorted(doubles, numbers)  # settle leaves them sorted by row

        def keeper(i: int) -> str:
            place = int(places[i])
            return f"same bytes as row {keeper_rows[place]}, {keeper_uids[place].as_py()}"

        dropped = np.isin(numbers, doubles)
        return [Verdict(reason=Reason.EXACT_DUPLICATE, dropped=dropped, detail=keeper)]
