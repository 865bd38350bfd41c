"""Rules joined by and, or and not. All rules joined see the same rows: those kept at their place.

So `all_of` over two top fractions is the intersection of two selections, as DataComp-1B is, where
the same rules one after the other would rank the second among what the first leaves.
"""

import io
import itertools
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self, cast

import numpy as np
import pyarrow as pa
from pydantic import SerializeAsAny

from schemas.fingerprint import Json
from schemas.outcome import Reason, Stage
from transforms.decide.rule import Mask, Rule, Vectors, Verdict


class JoinedRule(Rule):
    """Base of the rules that are made of rules."""

    stage = Stage.SELECT
    word: ClassVar[str]  # as recipes call it
    names: tuple[str, ...]  # of the rules, for people
    rules: tuple[SerializeAsAny[Rule], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return _distinct(rule.columns for rule in self.rules)

    @property
    def measured(self) -> tuple[str, ...]:
        return _distinct(rule.measured for rule in self.rules)

    @property
    def gathers(self) -> tuple[str, ...]:
        return _distinct(rule.gathers for rule in self.rules)

    def identity(self) -> Json:
        named = zip(self.names, self.rules, strict=True)
        return [self.word, *([name, rule.identity()] for name, rule in named)]

    def pinned(self, identity: Json) -> Self:
        _, *named = cast(Sequence[Sequence[Json]], identity)  # the word, then name and identity
        rules = zip(self.rules, named, strict=True)
        return self.model_copy(update={"rules": tuple(rule.pinned(of) for rule, (_, of) in rules)})

    def check(self) -> None:
        for rule in self.rules:
            rule.check()

    @property
    def whole_pool(self) -> bool:
        return any(rule.whole_pool for rule in self.rules)

    def settle_with(self, gathered: pa.Table, vectors: Vectors) -> pa.Table:
        """Columns rule, outcome: the number of each whole-pool rule, and its outcome as Arrow."""
        settled = [
            (number, _packed(rule.settle_with(gathered.select(rule.gathers), vectors)))
            for number, rule in enumerate(self.rules)
            if rule.whole_pool
        ]
        kinds = pa.schema([("rule", pa.int32()), ("outcome", pa.large_binary())])
        columns = [list(column) for column in zip(*settled, strict=True)] or [[], []]
        return pa.table(dict(zip(kinds.names, columns, strict=True)), schema=kinds)

    def verdicts(self, rows: pa.Table, outcome: pa.Table | None) -> list[list[Verdict]]:
        """What each rule says of the rows."""
        outcomes: dict[int, pa.Table] = {}
        if outcome is not None:
            numbers = outcome["rule"].to_pylist()
            packed = [scalar.as_buffer() for scalar in outcome["outcome"]]  # no copy
            outcomes = {n: _unpacked(one) for n, one in zip(numbers, packed, strict=True)}
        return [rule.judge(rows, outcomes.get(n)) for n, rule in enumerate(self.rules)]


class AllOf(JoinedRule):
    """Keep what every rule keeps: and, the intersection. The first rule that drops a row tells."""

    word = "all_of"

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        return [verdict for said in self.verdicts(rows, outcome) for verdict in said]


class AnyOf(JoinedRule):
    """Keep what at least one rule keeps: or, the union."""

    word = "any_of"

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        verdicts = self.verdicts(rows, outcome)
        dropped = np.logical_and.reduce([_dropped(said, rows.num_rows) for said in verdicts])

        def told(i: int) -> str:
            named = zip(self.names, verdicts, strict=True)
            return "; ".join(_told(name, said, i) for name, said in named)

        return [Verdict(reason=Reason.NO_RULE_KEEPS, dropped=dropped, detail=told)]


class Not(JoinedRule):
    """Keep what the one rule drops."""

    word = "not"

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        (said,) = self.verdicts(rows, outcome)
        last = said[-1]
        return [
            Verdict(
                reason=Reason.RULE_KEEPS,
                dropped=~_dropped(said, rows.num_rows),
                detail=lambda i: _told(self.names[0], said, i),
                value=last.value,
                limit=last.limit,
            )
        ]


def _dropped(verdicts: Sequence[Verdict], size: int) -> Mask:
    masks = [verdict.dropped for verdict in verdicts]
    return np.logical_or.reduce(masks) if masks else np.zeros(size, np.bool_)


def _told(name: str, said: Sequence[Verdict], i: int) -> str:
    """What a rule found in a row: why it drops it, or what it looked at last before it kept it."""
    drop = next((verdict for verdict in said if verdict.dropped[i]), None)
    return f"{name} keeps it: {said[-1].detail(i)}" if drop is None else f"{name}: {drop.detail(i)}"


def _distinct(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(names)))


def _packed(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _unpacked(packed: pa.Buffer) -> pa.Table:
    with pa.ipc.open_stream(packed) as reader:
        return reader.read_all()
