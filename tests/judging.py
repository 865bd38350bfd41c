"""Apply one rule to drawn rows as the stages do, and check what every rule owes."""

import io
import itertools
import math
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.decide.logic import JoinedRule
from transforms.decide.rule import Rule


@dataclass(frozen=True)
class End:
    """How a dropped row ends, as its ledger line has it."""

    reason: str
    detail: str
    value: float | None
    limit: float | None


def ends(rule: Rule, rows: pa.Table) -> list[End | None]:
    """(rows,): how each ends under a rule that has travelled to a worker; None is kept."""
    travelled = pickle.loads(pickle.dumps(rule))
    assert travelled == rule
    if not isinstance(rule, JoinedRule):  # a recipe makes these anew from its steps
        assert type(rule).model_validate(rule.model_dump(mode="json")) == rule
    return judged(travelled, rows, settled(travelled, rows))


def kept(rule: Rule, rows: pa.Table) -> list[bool]:
    return [end is None for end in ends(rule, rows)]


def settled(rule: Rule, rows: pa.Table) -> pa.Table | None:
    """The outcome as a worker reads it from its file; None for a rule of single rows."""
    if not rule.whole_pool:
        return None
    file = io.BytesIO()
    pq.write_table(rule.settle_with(rows.select(rule.gathers), no_vectors), file)
    return pq.read_table(file)


def no_vectors(measure: str) -> Iterator[Any]:
    """For rules that read no embeddings."""
    raise AssertionError(f"{measure} is not there")


def judged(rule: Rule, rows: pa.Table, outcome: pa.Table | None) -> list[End | None]:
    found: list[End | None] = [None] * rows.num_rows
    for verdict in rule.judge(rows, outcome):
        assert verdict.dropped.dtype == np.bool_
        assert verdict.dropped.shape == (rows.num_rows,)
        assert np.asarray(verdict.value).shape in ((), (rows.num_rows,))
        assert np.asarray(verdict.limit).shape in ((), (rows.num_rows,))
        for place in range(rows.num_rows):
            detail = verdict.detail(place)  # `not` asks for it where a row is kept, too
            assert detail
            if verdict.dropped[place] and found[place] is None:
                number, limit = _at(verdict.value, place), _at(verdict.limit, place)
                found[place] = End(verdict.reason.value, detail, number, limit)
    return found


def check_pieces(rule: Rule, rows: pa.Table, seed: int) -> None:
    """A rule says the same of rows in any order and chunks, and shard by shard, one of them empty.

    A shard that is empty comes last, too."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows.num_rows)
    cuts = [0, *sorted(rng.integers(0, rows.num_rows + 1, 2).tolist()), rows.num_rows]
    shuffled = rows.take(order).combine_chunks()
    spans = [*itertools.pairwise(cuts), (rows.num_rows, rows.num_rows)]
    shards = [shuffled.slice(begin, end - begin) for begin, end in spans]
    outcome = settled(rule, rows)
    again = settled(rule, pa.concat_tables(shards))
    assert outcome == again
    found = [end for shard in shards for end in judged(rule, shard, outcome)]
    told = ends(rule, rows)
    assert found == [told[place] for place in order]


def uid(number: int) -> str:
    """A uid as far from its neighbours as real ones are."""
    return f"{(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}"


def languages(codes: Sequence[str | None]) -> pa.Array:
    """A language measure's column with these likeliest codes; None is undetermined."""
    guesses = [[] if code is None else [(code, 0.75), ("xx", 0.25)] for code in codes]
    return pa.array(guesses, pa.map_(pa.string(), pa.float32()))


def _at(numbers: Any, place: int) -> float | None:
    if numbers is None:
        return None
    number = float(numbers if np.ndim(numbers) == 0 else numbers[place])
    return None if math.isnan(number) else number
