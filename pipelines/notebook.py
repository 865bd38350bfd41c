"""A finished run in a notebook: its funnel, its samples as a table, its pictures, and what if.

>>> run = Run.open("demo-run")
>>> run.funnel()
>>> run.samples(stage="clip", near=("clip-pocket", 0.067)).head(20)
>>> run.with_rule("clip_score", at_least=0.1).funnel()
"""

import io
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from pipelines.decide import decide
from pipelines.job import Job
from pipelines.recipe import make_recipe
from pipelines.why import Explanation, explain
from schemas.errors import BadInputError
from schemas.layout import decision_manifest, ledger_manifest, shard_name
from schemas.outcome import Stage
from schemas.pair import Status
from transforms.decide.ledger import read_funnel
from transforms.score.language import LANGUAGE
from transforms.shards.commit import committed
from transforms.shards.measures import read_measure
from transforms.shards.pool import PoolImages, read_pool
from transforms.shards.tables import read_committed

_FACTS = ["row", "url", "caption", "key", "status", "original_width", "original_height"]


class Run:
    """A RUN folder under one of its decisions. Reading it changes nothing."""

    def __init__(self, job: Job, decision: Path) -> None:
        self.job = job
        self.path = job.run
        self.decision = decision

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The run in a folder, under the decision of the recipe that ran there last.

        Raises: BadInputError: the folder is no RUN, or nothing was decided there yet."""
        job = Job.open(Path(path))
        if committed(decision_manifest(job.decision)) is None:
            raise BadInputError(f"The run in {path} has no decision yet: run it to its end first.")
        return cls(job, job.decision)

    def funnel(self) -> pd.DataFrame:
        """Columns stage, reason, rows: rows in, each kind of drop as a negative number, kept."""
        found = read_funnel(self.decision)
        drops = [
            (stage, reason, -rows)
            for stage, reasons in found["dropped"].items()
            for reason, rows in reasons.items()
        ]
        lines = [("read", "rows in", found["input_rows"]), *drops, ("", "kept", found["kept"])]
        return pd.DataFrame(lines, columns=pd.Index(["stage", "reason", "rows"]))

    def samples(
        self,
        *,
        stage: str | None = None,
        reason: str | None = None,
        kept: bool | None = None,
        near: tuple[str, float] | None = None,
        order_by: str = "row",
    ) -> pd.DataFrame:
        """A line for each input row, indexed by uid: facts, outcome, and a column a measure.

        A CLIP measure is its score, `language` the likeliest code; NaN where it was not measured.

        Args:
            stage, reason, kept: only the rows that ended so.
            near: (column, limit): only rows with a value there, those nearest the limit first.
            order_by: a column to sort by, where `near` is not given.
        Raises: BadInputError: there is no such column or stage."""
        if stage is not None and stage not in list(Stage):
            raise BadInputError(f"There is no stage {stage!r}; there are: {', '.join(Stage)}.")
        table = self._rows
        for column, wanted in (("stage", stage), ("reason", reason), ("kept", kept)):
            if wanted is not None:
                table = table.loc[table[column] == wanted]
        if near is None:
            return table.sort_values(_known(order_by, table), kind="stable")
        measure, limit = _known(near[0], table), near[1]
        measured = table.loc[table[measure].notna()]
        far = np.abs(measured[measure].to_numpy(np.float64) - limit)
        return measured.iloc[np.argsort(far, kind="stable")]

    def why(self, what: str) -> list[Explanation]:
        """What became of a row, by its uid or URL: as `pairmill why`, of the last recipe's run."""
        return explain(self.path, what)

    def image(self, uid: str) -> Image.Image:
        """The picture of a row, as the pool stores it.

        Raises: KeyError: no row has this uid, or its image was not fetched."""
        if uid not in self._rows.index:
            raise KeyError(f"no row of {self.path} has the uid {uid}")
        line = self._rows.loc[uid]
        if isinstance(line, pd.DataFrame):  # a repeated row: the same uid, the same picture
            line = line.iloc[0]
        if line["status"] != Status.SUCCESS:
            raise KeyError(f"the image of {uid} was not fetched")
        with PoolImages(self.job.layout.pool, int(line["shard"])) as images:
            return Image.open(io.BytesIO(images.read(line["key"])[1])).convert("RGB")

    def with_rule(self, name: str, **settings: Any) -> "Run":
        """The same run, decided anew with other settings of the first rule of this name.

        Takes seconds: nothing is fetched or measured. Rows that lack a measure are `unmeasured`.
        A setting that is None is taken away: with_rule("clip_score", at_least=None,
        top_fraction=0.3). The decision is kept in RUN, as `pairmill decide` does.

        Raises: BadInputError: the recipe has no such rule, or the settings are impossible."""
        content = self.job.recipe.model_dump(mode="json", exclude_none=True)
        rule = next((step[name] for step in content["rules"] if name in step), None)
        if rule is None:
            there = ", ".join(step.name for step in self.job.recipe.rules)
            raise BadInputError(f"The recipe has no rule {name!r}; it has: {there}.")
        rule.update(settings)
        for cleared in [key for key, value in rule.items() if value is None]:
            del rule[cleared]
        recipe = make_recipe(content, source=self.path / "with_rule")
        report = decide(self.path, recipe)
        job = Job(self.path, recipe, self.job.pool_identity, self.job.shards)
        return Run(job, Path(str(report.decision)))

    @cached_property
    def _rows(self) -> pd.DataFrame:
        shards = [self._shard_rows(shard) for shard in range(self.job.shards)]
        table = pd.concat(shards, ignore_index=True)
        for name in self.job.measure_names():
            values = self._measured(name)
            table[name] = [values.get(uid) for uid in table["uid"]]
        return table.set_index("uid")

    def _shard_rows(self, shard: int) -> pd.DataFrame:
        manifest = ledger_manifest(self.decision, shard)
        ledger = read_committed(manifest, f"{shard_name(shard)}.parquet").to_pandas()
        facts = read_pool(self.job.layout.pool, shard, columns=_FACTS).to_pandas()
        return ledger.merge(facts, on="row").assign(shard=shard)

    def _measured(self, name: str) -> dict[str, Any]:
        """uid to the value of a measure."""
        parts = [read_measure(self.job.measure(name), n) for n in range(self.job.shards)]
        table = pa.concat_tables([part for part in parts if part.num_rows] or parts[:1])
        column = "languages" if name == LANGUAGE else "score"
        if column not in table.column_names:
            return {}
        values = table[column].to_pylist()
        if name == LANGUAGE:
            values = [guesses[0][0] if guesses else None for guesses in values]
        return dict(zip(table["uid"].to_pylist(), values, strict=True))


def _known(column: str, table: pd.DataFrame) -> str:
    if column not in table.columns:
        there = ", ".join(table.columns)
        raise BadInputError(f"There is no column {column!r}; there are: {there}.")
    return column
