"""What the judgements of a sample say of all rows that ended as it did: shares with intervals."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from pipelines.decided import open_decided
from pipelines.job import Job
from pipelines.look.console import printable
from pipelines.look.groups import hosts_of, language_measure, languages_of
from pipelines.look.judgements import (
    DROPPED,
    KEPT,
    RIGHT,
    UNSURE,
    WRONG,
    Judgement,
    read_judgements,
)
from schemas.errors import BadInputError
from transforms.decide.ledger import read_ledger
from transforms.shards.pool import read_pool

LEAST_OF_A_GROUP = 10  # judgements; the share of fewer says next to nothing
HALF_WIDTH = 0.05  # of the interval that is aimed at


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """right / (right + wrong), with Wilson's 95 % interval; None where neither was said."""

    right: int
    wrong: int
    unsure: int
    share: float | None
    low: float
    high: float
    more: int  # right-or-wrong judgements until the interval is +-5 %, if the share stays


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a judged file says; `by` has the groups with at least ten right or wrong."""

    of: str  # kept, dropped, or the one reason of all rows
    left: int  # rows not judged yet
    changed: int  # rows of the file that end otherwise in this decision
    population: int  # rows that end so in this decision
    all: Share
    by: dict[str, dict[str, Share]]  # language, reason, source


def judge_audit(run: Path, file: Path, decision: str | None = None) -> Judged:
    """What the judgements in a file say of all rows that ended so.

    For rows that are kept the share is the precision; for dropped ones it is the share that was
    rightly dropped. "unsure" counts for neither.

    Raises: BadInputError: the file is no judged sample, or not of this run."""
    job = open_decided(run, decision)
    judgements = read_judgements(file)
    kinds = {bool(judgement.reason) for judgement in judgements}
    if len(kinds) != 1:
        fault = "kept and dropped rows both: judge them apart" if kinds else "no rows"
        raise BadInputError(f"{file} has {fault}.")
    facts = _facts(job, judgements, file)
    reasons = {judgement.reason for judgement in judgements}
    of = KEPT if reasons == {""} else reasons.pop() if len(reasons) == 1 else DROPPED
    verdicts = [judgement.verdict for judgement in judgements]
    by = {name: _by_group(facts[name], verdicts) for name in facts}
    changed, population = _now(job, judgements, of)
    all_ = count_share(verdicts)
    all_ = replace(all_, more=max(0, min(all_.more, population - all_.right - all_.wrong)))
    left = verdicts.count("")
    return Judged(of=of, left=left, changed=changed, population=population, all=all_, by=by)


def _now(job: Job, judgements: Sequence[Judgement], of: str) -> tuple[int, int]:
    """How many of the judged rows end otherwise in the decision, and how many rows end so."""
    judged = {judgement.row: judgement.reason for judgement in judgements}
    changed = population = 0
    for shard in range(job.shards):
        ledger = read_ledger(job.decision, shard, ["row", "kept", "reason"]).to_pandas()
        reasons = ledger["reason"].fillna("")
        is_so = ledger["kept"] if of == KEPT else ~ledger["kept"]
        population += int((is_so if of in (KEPT, DROPPED) else reasons == of).sum())
        here = ledger["row"].isin(list(judged))
        before = ledger["row"][here].map(judged)
        changed += int((before != reasons[here]).sum())
    return changed, population


def count_share(verdicts: Sequence[str]) -> Share:
    """The share of right among right and wrong. Source: Wilson 1927."""
    from scipy.stats import binomtest  # slow to import, and drawing a sample needs none of it

    right, wrong = verdicts.count(RIGHT), verdicts.count(WRONG)
    judged = right + wrong
    low, high = 0.0, 1.0
    if judged:
        interval = binomtest(right, judged).proportion_ci(0.95, method="wilson")
        low, high = float(interval.low), float(interval.high)
    share = right / judged if judged else None
    return Share(
        right=right,
        wrong=wrong,
        unsure=verdicts.count(UNSURE),
        share=share,
        low=low,
        high=high,
        more=max(0, judgements_wanted(0.5 if share is None else share) - judged),
    )


def judgements_wanted(share: float) -> int:
    """How many judgements bring Wilson's 95 % interval to +-5 % at most, at this share."""
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    n = np.arange(1, 400)  # 381 are wanted at the worst share, a half
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return int(n[np.argmax(half <= HALF_WIDTH)])


def print_judged(judged: Judged, console: Console) -> None:
    """Sentences, and a table of the groups."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    all_ = judged.all
    counts = f"{all_.right} right, {all_.wrong} wrong, {all_.unsure} unsure, {judged.left} left"
    if all_.share is None:
        say(f"Nothing was judged right or wrong yet: {counts}.")
    else:
        interval = f"95 % interval {all_.low:.1%} to {all_.high:.1%}"
        say(f"{_meaning(judged.of)}: {all_.share:.1%} ({interval}); {counts}.")
    if judged.changed:
        say(f"{judged.changed} of the rows end otherwise in this decision: judge a new sample.")
    if all_.more:
        say(f"About {all_.more} more judgements, right or wrong, make the interval +-5 %.")
    table = Table("by", "", "share", "95 % interval", "right", "wrong", "unsure", box=None)
    for by, groups in judged.by.items():
        for name, one in groups.items():
            interval = f"{one.low:.1%} to {one.high:.1%}"
            counts = [str(one.right), str(one.wrong), str(one.unsure)]
            table.add_row(by, printable(name), f"{one.share:.1%}", interval, *counts)
    if table.row_count:
        console.print(table)


def _meaning(of: str) -> str:
    if of == KEPT:
        return "Precision, the share of the kept rows that is right"
    rows = "dropped rows" if of == DROPPED else f"rows dropped as {of}"
    return f"The share of the {rows} that was rightly dropped"


def _facts(job: Job, judgements: Sequence[Judgement], file: Path) -> dict[str, list[str]]:
    """Language, reason and source of each judged row.

    Raises: BadInputError: one is no row of this run."""
    numbers = pa.array([judgement.row for judgement in judgements], pa.int64())
    languages = language_measure(job)
    found: dict[tuple[int, str], dict[str, str]] = {}
    for shard in range(job.shards):
        pool = read_pool(job.layout.pool, shard, columns=["row", "uid", "url"])
        rows = pool.filter(pc.is_in(pool["row"], value_set=numbers))
        groups = {"source": hosts_of(rows["url"])}
        if languages is not None:
            groups["language"] = languages_of(rows["uid"], languages, shard)
        pairs = zip(rows["row"].to_pylist(), rows["uid"].to_pylist(), strict=True)
        found |= dict(zip(pairs, pa.table(groups).to_pylist(), strict=True))
    for one in judgements:
        if (one.row, one.uid) not in found:
            raise BadInputError(
                f"{file}, line {one.line}: the run in {job.run} has no row {one.row} with the uid"
                f" {one.uid!r}."
            )
    told = [found[one.row, one.uid] for one in judgements]
    facts = {name: [facts[name] for facts in told] for name in sorted(told[0])}
    reasons = [one.reason for one in judgements]
    return {"reason": reasons, **facts} if any(reasons) else facts


def _by_group(groups: Sequence[str], verdicts: Sequence[str]) -> dict[str, Share]:
    """The share of each group that has enough judgements, the most judged first."""
    said: dict[str, list[str]] = {}
    for group, verdict in zip(groups, verdicts, strict=True):
        said.setdefault(group, []).append(verdict)
    shares = {group: count_share(words) for group, words in sorted(said.items())}
    enough = {g: s for g, s in shares.items() if s.right + s.wrong >= LEAST_OF_A_GROUP}
    return dict(sorted(enough.items(), key=lambda item: -(item[1].right + item[1].wrong)))
