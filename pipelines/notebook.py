"""A finished run in a notebook: its funnel, its samples as a table, its pictures, and what if.

>>> run = Run.open("demo-run")
>>> run.funnel()
>>> run.samples(stage="clip", order_by="border").head(20)
>>> looser = run.with_rule("clip_score", at_least=0.05)
>>> run.drops_beyond(looser)
"""

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from pipelines.decide import decide
from pipelines.decided import open_decided
from pipelines.job import Job
from pipelines.look.texts import chosen_texts
from pipelines.look.why import Explanation, explain
from pipelines.recipe_file import make_recipe
from pipelines.steps import LANGUAGES, columns_of
from schemas.errors import BadInputError
from schemas.outcome import Reason, Stage
from schemas.pair import Status
from transforms.decide.basic import SIDES
from transforms.decide.border import by_border
from transforms.decide.ledger import read_funnel, read_ledger
from transforms.decide.rule import Rule
from transforms.shards.languages import likeliest
from transforms.shards.measures import read_measure
from transforms.shards.pool import PoolImages, read_pool

_FACTS = ["row", "url", "caption", "key", "status", *SIDES]
_ENDING = ("stage", "reason", "rule", "value", "limit", "detail")  # of the ledger


class Run:
    """A RUN folder under one of its decisions. Reading it changes nothing."""

    def __init__(self, job: Job, decision: Path) -> None:
        self.job = job
        self.path = job.run
        self.decision = decision

    @classmethod
    def open(cls, path: str | Path, decision: str | None = None) -> Self:
        """The run in a folder, under the decision of the recipe that ran there last.

        Args: decision: another one, by its fingerprint or a beginning of it that no other has.
        Raises: BadInputError: the folder is no RUN, nothing was decided there yet, or there is
            not exactly one such decision."""
        job = open_decided(Path(path), decision)
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

        `clip-pocket.score`, `text.words` and so on; a language measure is the column of its own
        name, with the likeliest code. NaN where a row was not measured.

        Args:
            stage, reason, kept: only the rows that ended so.
            near: (column, limit): only rows with a value there, those nearest the limit first.
            order_by: a column to sort by, where `near` is not given; `border` has the rows that
                a number decided, nearest to the limit first, and those of several rules in turn:
                their units differ.
        Raises: BadInputError: there is no such column or stage."""
        if stage is not None and stage not in list(Stage):
            raise BadInputError(f"There is no stage {stage!r}; there are: {', '.join(Stage)}.")
        table = self._rows
        for column, wanted in (("stage", stage), ("reason", reason), ("kept", kept)):
            if wanted is not None:
                table = table.loc[table[column] == wanted]
        if near is None and order_by == "border":
            decided = table.loc[table["value"].notna() & table["limit"].notna()]
            return by_border(decided)
        if near is None:
            return table.sort_values(known_column(order_by, table), kind="stable")
        measure, limit = known_column(near[0], table), near[1]
        measured = table.loc[table[measure].notna()]
        far = np.abs(measured[measure].to_numpy(np.float64) - limit)
        return measured.iloc[np.argsort(far, kind="stable")]

    def captions(self) -> pd.DataFrame:
        """A line for each caption that survives of the kept images, where a rule chose among them:
        row, uid, image, text (0: the web caption), caption, source, itm, clip_score, rank."""
        found = chosen_texts(self.job).to_pandas()
        own = self._rows.drop_duplicates("row").set_index("row")["caption"]
        said = found["caption"].fillna(found["row"].map(own))
        names = ["row", "uid", "image", "text", "caption", "source", "itm", "clip_score", "rank"]
        return found.assign(caption=said)[names]

    def drops_beyond(self, other: "Run") -> pd.DataFrame:
        """The rows that are dropped here and not in `other`, as they end here; nearest to the
        limit first, and last those that no number decided.

        `run.drops_beyond(looser)` is what a looser rule adds, and `stricter.drops_beyond(run)`
        what a stricter one takes away. A row of `other` that waits for a measure counts: no rule
        has dropped it there."""
        there = other.samples()
        passed = there["kept"] | (there["reason"] == Reason.UNMEASURED)
        dropped = self.samples(kept=False)
        dropped = dropped.loc[dropped["reason"] != Reason.UNMEASURED]
        return by_border(dropped.loc[dropped["row"].isin(there.loc[passed, "row"])])

    def why(self, what: str) -> list[Explanation]:
        """What became of each row with this uid or URL: as `pairmill why` tells it, but under
        this decision, and with the rule, the value and the limit."""
        return [self._told(line) for line in explain(self.path, what)]

    def rule(self, name: str) -> Rule:
        """A rule of the recipe, with its settings: run.rule("clip_score").at_least.

        Args: name: as in the recipe, clip_score; or with its place, where there are several of
            one name: rules.5.clip_score, rules.2.any_of.0.clip_score.
        Raises: BadInputError: the recipe has no such rule, or several."""
        return self._leaves()[self._place(name)]

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
            return images.picture(line["key"])

    def with_rule(self, name: str, **settings: Any) -> "Run":
        """The same run, decided anew with other settings of one rule; named as in `rule`.

        Takes seconds: nothing is fetched or measured. Rows that lack a measure are `unmeasured`.
        A setting that is None is taken away: with_rule("clip_score", at_least=None,
        top_fraction=0.3). The decision is kept in RUN, as `pairmill decide` does.

        Raises: BadInputError: the recipe has no such rule, or the settings are impossible."""
        content = self.job.recipe.model_dump(mode="json", exclude_none=True)
        rule: Any = content
        for key in self._place(name).split("."):
            rule = rule[int(key) if isinstance(rule, list) else key]
        rule.update(settings)
        for cleared in [key for key, value in rule.items() if value is None]:
            del rule[cleared]
        recipe = make_recipe(content, source=self.path / "with_rule")
        report = decide(self.path, recipe)
        return Run(
            dataclasses.replace(self.job, recipe=recipe, known={}), Path(str(report.decision))
        )

    def _leaves(self) -> dict[str, Rule]:
        """The rules that are not made of others, by their places: rules.5.clip_score."""
        steps = enumerate(self.job.recipe.rules)
        return {place: rule for n, step in steps for place, rule in step.leaves(f"rules.{n}")}

    def _place(self, name: str) -> str:
        places = list(self._leaves())
        found = [place for place in places if place == name or place.rpartition(".")[2] == name]
        if not found:
            there = ", ".join(place.rpartition(".")[2] for place in places)
            raise BadInputError(f"The recipe has no rule {name!r}; it has: {there}.")
        if len(found) > 1:
            raise BadInputError(f"Several rules are named {name!r}; say which: {', '.join(found)}.")
        return found[0]

    def _told(self, line: Explanation) -> Explanation:
        """An explanation of the last recipe's decision, with the outcome in this one."""
        rows = self._rows
        sample = rows.loc[rows["row"] == line["row"]].iloc[0]
        ending = {name: _plain(sample[name]) for name in _ENDING if pd.notna(sample[name])}
        head = {name: line[name] for name in ("row", "uid", "url", "caption")}
        facts = {name: line[name] for name in ("image", "measures")}
        # Corpora and surviving captions are those of the last recipe's decision.
        is_last = self.decision == Job.open(self.path).decision
        facts["captions"] = line["captions"] if is_last else []
        facts["corpora"] = line["corpora"] if is_last else {}
        return head | {"outcome": "kept" if sample["kept"] else "dropped"} | ending | facts

    @cached_property
    def _rows(self) -> pd.DataFrame:
        shards = [self._shard_rows(shard) for shard in range(self.job.shards)]
        table = pd.concat(shards, ignore_index=True)
        for name in self.job.measure_names():
            measured = self._measured(name)
            table = table.merge(measured, on="uid", how="left", validate="many_to_one")
        return table.set_index("uid")

    def _shard_rows(self, shard: int) -> pd.DataFrame:
        ledger = read_ledger(self.decision, shard).to_pandas()
        facts = read_pool(self.job.layout.pool, shard, columns=_FACTS).to_pandas()
        shorter, longer = facts[list(SIDES)].min(axis=1), facts[list(SIDES)].max(axis=1)
        facts = facts.assign(shorter_side_px=shorter, aspect=longer / shorter, shard=shard)
        return ledger.merge(facts, on="row")

    def _measured(self, name: str) -> pd.DataFrame:
        """A line for each uid measured: the columns of a measure, as MEASURE.COLUMN."""
        folder = self.job.measure(name)
        parts = [read_measure(folder, shard) for shard in range(self.job.shards)]
        found = pa.concat_tables(parts, promote_options="default")
        columns = {"uid": found["uid"].to_pandas()}
        readable = columns_of(self.job.recipe.policy(name))  # others hold places in files
        for column in found.column_names[1:]:
            if column == LANGUAGES:
                columns[name] = likeliest(found[column])
            elif column in readable or not readable:
                columns[f"{name}.{column}"] = found[column].to_pandas()
        return pd.DataFrame(columns)


def known_column(column: str, table: pd.DataFrame) -> str:
    """The name again. Raises: BadInputError: the table has no such column."""
    if column not in table.columns:
        there = ", ".join(table.columns)
        raise BadInputError(f"There is no column {column!r}; there are: {there}.")
    return column


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
