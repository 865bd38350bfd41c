"""Semantic duplicates are those one finds by going through images in their order, by brute force;
and clusters and short forms lose none of them."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import judging
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import RunFailedError
from transforms.dedupe import clusters as module
from transforms.dedupe.clusters import AXES, F16, assigned, spherical_kmeans
from transforms.dedupe.semantic import (
    COMPARED,
    ROUNDING,
    Members,
    SemanticDuplicateRule,
    embeddings_of,
    within_cluster,
)

SEEDS = st.integers(0, 2**31 - 1)
KINDS = st.sampled_from(["even", "planted", "one side", "equal"])


def drawn(count: int, axes: int, kind: str, seed: int) -> F16:
    """(count, axes) of norm 1. `even`: on all sides; `planted`: a few and their neighbours;
    `one side`: all around one; `equal`: only three different ones."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(max(count, 1), axes))
    if kind == "planted":
        found = found[rng.integers(0, max(1, count // 4), count)]
        found = found + rng.normal(size=found.shape) * rng.choice([0, 0.1, 0.3], (count, 1))
    if kind == "one side":
        found = found[0] + found * 0.4
    if kind == "equal":
        found = found[rng.integers(0, min(3, max(count, 1)), count)]
    found = found[:count]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def cosines_of(vectors: F16) -> Any:
    """(N, N), of double precision; what float16 took from the norms is given back."""
    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    return exact @ exact.T


def limit_near(cosines: Any, wanted: float) -> float:
    """In a gap between cosines, so that rounding does not decide."""
    near = [wanted - 0.05, *np.sort(cosines[abs(cosines - wanted) < 0.05]), wanted + 0.05]
    gaps = np.diff(near)
    place = int(gaps.argmax())
    assert gaps[place] > 1e-5
    return float(near[place] + gaps[place] / 2)


def one_by_one(cosines: Any, rank: list[int], limit: float) -> list[int]:
    """Go through by rank; one is kept unless it is near one that is, and then goes to the best."""
    keeper = list(range(len(rank)))
    kept: list[int] = []
    for place in np.argsort(rank).tolist():
        better = [one for one in kept if cosines[one, place] > limit]
        if better:
            keeper[place] = better[0]
        else:
            kept.append(place)
    return keeper


def rule_of(limit: float, **fields: Any) -> SemanticDuplicateRule:
    return SemanticDuplicateRule(eps=1 - limit, **fields)


def check_kept(vectors: F16, rank: list[int], wanted: float) -> int:
    """In one cluster the rule keeps what is kept one by one; gives how many are dropped."""
    cosines = cosines_of(vectors)
    limit = limit_near(cosines, wanted)
    found = rule_of(limit, clusters=1).kept_of(vectors, np.array(rank, np.int64))
    expected = one_by_one(cosines, rank, limit)
    assert found.keeper.tolist() == expected
    assert found.value is not None
    places = np.arange(len(rank))
    dropped = found.keeper != places
    at = cosines[places, found.keeper]
    np.testing.assert_allclose(found.value[dropped], at[dropped], atol=1e-5)
    assert (found.value[~dropped] == 1).all()
    return int(dropped.sum())


@given(st.integers(1, 60), st.sampled_from([2, 8, 100]), KINDS, SEEDS, st.sampled_from([0.5, 0.9]))
@settings(max_examples=20)
def test_in_one_cluster_those_are_kept_that_are_kept_one_by_one(
    count: int, axes: int, kind: str, seed: int, wanted: float
) -> None:
    rank = np.random.default_rng(seed).permutation(count).tolist()
    check_kept(drawn(count, axes, kind, seed), rank, wanted)


@pytest.mark.parametrize("count", [COMPARED - 1, COMPARED, COMPARED + 1, 3 * COMPARED + 7])
@pytest.mark.parametrize(("axes", "kind"), [(8, "even"), (100, "planted"), (100, "one side")])
def test_a_cluster_larger_than_what_is_compared_at_a_time_is_kept_one_by_one(
    count: int, axes: int, kind: str
) -> None:
    rank = np.random.default_rng(count).permutation(count).tolist()
    dropped = check_kept(drawn(count, axes, kind, count), rank, 0.85)
    assert count // 20 < dropped < count


def at_angles(*degrees: float) -> F16:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)


def test_the_end_of_a_chain_stays_where_only_the_middle_is_near_it() -> None:
    """20 degrees from one to the next, of which 30 are a duplicate: the guard."""
    rule = rule_of(float(np.cos(np.deg2rad(30))), clusters=1)
    chain = at_angles(0, 20, 40)
    assert rule.kept_of(chain, np.array([0, 1, 2])).keeper.tolist() == [0, 0, 2]
    assert rule.kept_of(chain, np.array([1, 0, 2])).keeper.tolist() == [1, 1, 1]
    found = rule.kept_of(at_angles(0, 10, 20), np.array([0, 1, 2]))
    assert found.value is not None
    np.testing.assert_allclose(found.value, np.cos(np.deg2rad([0, 10, 20])), atol=1e-3)


@pytest.mark.parametrize("clusters", [None, 1, 7, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_equal_embeddings_collapse_to_the_best(count: int, clusters: int | None) -> None:
    rank = np.random.default_rng(count).permutation(count)
    vectors = np.repeat(drawn(1, 64, "even", 2), count, axis=0)
    found = rule_of(0.95, clusters=clusters).kept_of(vectors, rank)
    assert set(found.keeper.tolist()) == {int(rank.argmin())}


def test_equal_embeddings_collapse_however_small_eps_is() -> None:
    """Rounded to 16 bits many have a norm under 1: their cosine is not the plain dot product."""
    for seed in range(8):
        vectors = np.repeat(drawn(1, 64, "even", seed), 10, axis=0)
        found = SemanticDuplicateRule(eps=1e-6).kept_of(vectors, np.arange(10))
        assert set(found.keeper.tolist()) == {0}


@given(st.integers(2, 120), st.sampled_from([16, 100]), SEEDS, st.sampled_from([None, 2, 9]))
@settings(max_examples=10)
def test_equal_embeddings_among_others_are_never_parted_by_clusters(
    count: int, axes: int, seed: int, clusters: int | None
) -> None:
    rng = np.random.default_rng(seed)
    different = drawn(count, axes, "one side", seed)
    which = rng.integers(0, count, 4 * count)
    rank = rng.permutation(4 * count)
    found = rule_of(0.99, clusters=clusters).kept_of(different[which], rank)
    kept = which[np.unique(found.keeper)].tolist()
    assert len(kept) == len(set(kept))


@given(st.integers(1, 80), KINDS, SEEDS, st.sampled_from([None, 3]))
@settings(max_examples=20)
def test_in_many_clusters_too_a_dropped_one_is_within_reach_of_its_keeper(
    count: int, kind: str, seed: int, clusters: int | None
) -> None:
    vectors = drawn(count, 24, kind, seed)
    cosines = cosines_of(vectors)
    limit = limit_near(cosines, 0.8)
    rank = np.random.default_rng(seed).permutation(count)
    keeper = rule_of(limit, clusters=clusters).kept_of(vectors, rank).keeper
    assert (keeper[keeper] == keeper).all()
    for place in np.flatnonzero(keeper != np.arange(count)).tolist():
        assert cosines[place, keeper[place]] > limit
        assert rank[keeper[place]] < rank[place]


@given(st.integers(1, 60), KINDS, SEEDS, st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_in_any_order_the_same_are_kept_of_one_cluster(
    count: int, kind: str, seed: int, rng: random.Random
) -> None:
    vectors = drawn(count, 16, kind, seed)
    rule = rule_of(limit_near(cosines_of(vectors), 0.8), clusters=1)
    rank = np.random.default_rng(seed).permutation(count)
    order = np.array(rng.sample(range(count), count))
    once, again = rule.kept_of(vectors, rank), rule.kept_of(vectors[order], rank[order])
    np.testing.assert_array_equal(order[again.keeper], once.keeper[order])


def test_of_no_images_none_is_dropped() -> None:
    found = rule_of(0.9).kept_of(np.zeros((0, 8), np.float16), np.zeros(0, np.int64))
    assert found.value is not None
    assert len(found.keeper) == len(found.value) == 0


Shards = list[tuple[pa.Array, F16]]


def uids_of(numbers: list[int]) -> pa.Array:
    return pa.array([judging.uid(number) for number in numbers], pa.string())


def sharded(numbers: list[int], vectors: F16, cuts: list[int]) -> Shards:
    """The embeddings of these, cut into shards."""
    spans = itertools.pairwise([0, *sorted(cuts), len(numbers)])
    parts = [numbers[begin:end] for begin, end in spans]
    return [(uids_of(part), vectors[part]) for part in parts]


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Numbers of some images in any order, and where they are cut into shards, some empty."""
    count = draw(st.integers(1, 40))
    cuts = draw(st.lists(st.integers(0, count), max_size=4))
    return draw(st.permutations(range(count))), cuts


@given(orders(), st.data())
def test_each_uid_has_its_embedding_from_whatever_shard(
    order: tuple[list[int], list[int]], data: st.DataObject
) -> None:
    numbers, cuts = order
    vectors = drawn(len(numbers), 4, "even", len(cuts))
    wanted = data.draw(st.lists(st.sampled_from(numbers), unique=True))
    chunks = pa.chunked_array([uids_of(wanted[:3]), uids_of(wanted[3:])])
    found = embeddings_of(chunks, iter(sharded(numbers, vectors, cuts)))
    assert found.dtype == np.float16
    assert found.tolist() == [vectors[number].tolist() for number in wanted]


@pytest.mark.parametrize("there", [[], [0], [1, 2]])
def test_an_image_without_embedding_ends_the_run(there: list[int]) -> None:
    vectors = drawn(3, 4, "even", 0)
    uids = pa.chunked_array([uids_of([2, 0])])
    missing = 2 - len({0, 2} & set(there))
    with pytest.raises(RunFailedError, match=f"^{missing} images have no embedding"):
        embeddings_of(uids, iter(sharded(there, vectors, [1])))
    with pytest.raises(RunFailedError, match="2 images have no embedding"):
        embeddings_of(uids, iter([]))


def test_no_images_need_no_embeddings() -> None:
    none = pa.chunked_array([pa.array([], pa.string())])
    assert len(embeddings_of(none, iter([]))) == 0
    assert len(embeddings_of(none, iter(sharded([0], drawn(1, 4, "even", 0), [])))) == 0


@given(orders(), orders(), st.sampled_from([None, 1, 3]), KINDS)
@settings(max_examples=15)
def test_the_rule_drops_the_same_in_any_order_of_rows_and_shards(
    rows: tuple[list[int], list[int]],
    shards: tuple[list[int], list[int]],
    clusters: int | None,
    kind: str,
) -> None:
    count = min(len(rows[0]), len(shards[0]))
    vectors = drawn(count, 24, kind, 1)
    limit = limit_near(cosines_of(vectors), 0.8)
    rule = rule_of(limit, clusters=clusters, keep="first")

    def settled(numbers: list[int], cuts: list[int]) -> pa.Table:
        gathered = pa.table({"row": numbers, "uid": uids_of(numbers), "image": numbers})

        def embedded(measure: str) -> Iterator[tuple[pa.Array, F16]]:
            assert measure == "clip-pocket"
            there = [number for number in shards[0] if number < count]
            yield from sharded(there, vectors, [min(cut, count) for cut in cuts])

        return rule.settle_with(gathered, embedded)

    once = settled(list(range(count)), [])
    assert settled([number for number in rows[0] if number < count], shards[1]) == once
    if clusters == 1:
        expected = one_by_one(cosines_of(vectors), list(range(count)), limit)
        dropped = {row: one for row, one in enumerate(expected) if row != one}
        told = zip(once["row"].to_pylist(), once["keeper_row"].to_pylist(), strict=True)
        assert dict(told) == dropped


@given(st.integers(1, 200), st.integers(1, 9), SEEDS, st.integers(1, 40))
@settings(max_examples=20)
def test_clusters_are_the_same_for_the_same_seed(
    count: int, clusters: int, seed: int, points: int
) -> None:
    vectors = drawn(count, 16, "even", seed)
    clusters = min(clusters, count)

    def trained() -> Any:
        return spherical_kmeans(vectors, clusters, iterations=5, points=points, seed=seed)

    centroids = trained()
    assert centroids.shape == (clusters, 16)
    np.testing.assert_array_equal(trained(), centroids)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**31, 2**32, 2**64])
def test_a_seed_that_a_recipe_may_name_is_one_that_clusters_can_be_made_with(seed: int) -> None:
    try:
        rule = SemanticDuplicateRule(eps=0.1, seed=seed)
    except ValidationError:
        return
    assert len(rule.kept_of(drawn(20, 8, "even", 0), np.arange(20)).keeper) == 20


def test_another_seed_makes_other_clusters() -> None:
    vectors = drawn(400, 16, "even", 0)
    one, other = (
        spherical_kmeans(vectors, 8, iterations=3, points=20, seed=seed) for seed in (0, 1)
    )
    assert not np.allclose(one, other)


@given(st.integers(1, 60), st.sampled_from([2, 24, 64, 100]), st.integers(1, 9), KINDS, SEEDS)
@settings(max_examples=20)
def test_short_forms_are_never_under_the_cosine_and_clusters_are_the_nearest(
    count: int, axes: int, clusters: int, kind: str, seed: int
) -> None:
    vectors, clusters = drawn(count, axes, kind, seed), min(clusters, count)
    centroids = spherical_kmeans(vectors, clusters, iterations=3, points=256, seed=0)
    found = assigned(vectors, centroids)
    assert found.shorts.shape == (count, min(AXES, axes) + 1)
    assert (found.shorts @ found.shorts.T >= cosines_of(vectors) - ROUNDING).all()
    to_each = vectors.astype(np.float64) @ centroids.T.astype(np.float64)
    assert (to_each[np.arange(count), found.of] >= to_each.max(axis=1) - 1e-6).all()


def test_short_forms_that_leave_one_axis_out_are_never_under_the_cosine() -> None:
    """A length left out is the root of a rounded difference: where it is under 0.001 or so the
    rounding is a part of it that tells."""
    for seed in range(60):
        vectors = drawn(60, AXES + 1, "even", seed)
        shorts = assigned(vectors, vectors[:1].astype(np.float32)).shorts
        assert (shorts @ shorts.T >= cosines_of(vectors) - ROUNDING).all()


def test_short_forms_are_the_same_however_many_are_made_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = drawn(100, 80, "planted", 0)
    centroids = spherical_kmeans(vectors, 6, iterations=3, points=256, seed=0)
    once = assigned(vectors, centroids)
    for block in (1, 33, 50, 100):
        monkeypatch.setattr(module, "BLOCK", block)
        found = assigned(vectors, centroids)
        np.testing.assert_array_equal(found.of, once.of)
        np.testing.assert_allclose(found.shorts, once.shorts, atol=1e-5)


@given(st.integers(0, 60), KINDS, SEEDS, st.sampled_from([0.3, 0.9]))
@settings(max_examples=20)
def test_short_forms_that_rule_out_much_or_nothing_lead_to_the_same_end(
    count: int, kind: str, seed: int, wanted: float
) -> None:
    vectors = drawn(count, 100, kind, seed)
    cosines = cosines_of(vectors)
    limit = limit_near(cosines, wanted)
    expected = one_by_one(cosines, list(range(count)), limit)
    clusters = assigned(vectors, drawn(1, 100, "even", 0).astype(np.float32))
    whole = vectors.astype(np.float32) / clusters.norms[:, None]
    for shorts in (whole, clusters.shorts, np.ones((count, 1), np.float32)):
        members = Members(vectors, clusters._replace(shorts=shorts), np.arange(count))
        assert within_cluster(members, limit).keeper.tolist() == expected
