"""Near duplicates: whatever goes is near what stays, whatever stays is near nothing that stays."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, kept, settled, uid
from pydantic import ValidationError

from transforms.decide.rule import as_found
from transforms.dedupe import keepers, near_duplicate
from transforms.dedupe.hamming import Hashes, Pairs, near_pair_blocks
from transforms.dedupe.near_duplicate import KEY_BITS, NearDuplicateRule, NearFinder

Hash = Literal["phash", "pdq"]
COLUMN = {"phash": "image_hash.phash", "pdq": "pdq.hash"}
WIDTH = {"phash": 64, "pdq": 256}
SEED = st.integers(0, 3)
few_examples = settings(max_examples=15)


def bits(*places: int) -> int:
    """A hash with these bits set."""
    return sum(1 << place for place in places)


def column(kind: Hash, hashes: Sequence[int | None]) -> pa.Array:
    if kind == "phash":
        return pa.array(hashes, pa.uint64())
    raw = [None if one is None else one.to_bytes(32, "big") for one in hashes]
    return pa.array(raw, pa.binary(32))


def table(
    kind: Hash, hashes: Sequence[int | None], images: Sequence[int] | None = None
) -> pa.Table:
    """The n-th row has number n; images are all different if not given."""
    count = len(hashes)
    return pa.table(
        {
            "row": pa.array(range(count), pa.int64()),
            "uid": pa.array([uid(row) for row in range(count)], pa.string()),
            "image": pa.array(range(count) if images is None else images, pa.int64()),
            COLUMN[kind]: column(kind, hashes),
        }
    )


def flipped(one: int, places: Sequence[int]) -> int:
    for place in places:
        one ^= 1 << place
    return one


class Search(NamedTuple):
    """Hashes of images, some of which have several rows, and a limit."""

    kind: Hash
    limit: int
    images: list[int]  # (rows,): the image of each row, which is that of its first
    hashes: list[int]  # (rows,)


LIMITS = [("phash", limit) for limit in range(1, 17)] + [("pdq", 1), ("pdq", 8)]
EXTREMES = [("phash", 0), ("pdq", 0), ("pdq", 40), ("pdq", 80)]  # the search plans these longer


@st.composite
def searches(draw: st.DrawFn, limits: Sequence[tuple[Any, int]] = LIMITS) -> Search:
    """Some hashes are just within the limit of each other, some just out of it."""
    kind, limit = draw(st.sampled_from(limits))
    width = WIDTH[kind]
    images = draw(st.lists(st.integers(0, 7), max_size=12))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    hashes = [draw(st.integers(0, (1 << width) - 1))]
    while len(hashes) < 8:
        near = hashes[rng.integers(len(hashes))]
        differing = rng.choice([0, 1, max(limit - 1, 0), limit, limit + 1, width // 2])
        hashes.append(flipped(near, rng.choice(width, differing, replace=False).tolist()))
    numbers = [images.index(image) for image in images]
    return Search(kind, limit, numbers, [hashes[image] for image in images])


def found_by_hand(limit: int, images: Sequence[int], hashes: Sequence[int]) -> list[int]:
    of = dict(zip(images, hashes, strict=True))
    return sorted(
        image
        for image in of
        if any((of[image] ^ of[other]).bit_count() <= limit for other in of if other != image)
    )


def kept_by_hand(limit: int, images: Sequence[int], hashes: Sequence[int]) -> dict[int, int]:
    """Each image's keeper among images: the earliest kept that is near it, or itself."""
    of = dict(zip(images, hashes, strict=True))
    stays: list[int] = []
    keeper = {}
    for image in sorted(of):  # an image's number is that of its first row
        near = [other for other in stays if (of[image] ^ of[other]).bit_count() <= limit]
        keeper[image] = near[0] if near else image
        if not near:
            stays.append(image)
    return keeper


@given(searches())
def test_the_finder_finds_what_one_finds_by_hand(search: Search) -> None:
    check_finder(search)


@given(searches([*LIMITS, *EXTREMES]))
def test_any_two_that_are_near_share_a_key(search: Search) -> None:
    kind, limit, _, hashes = search
    finder = NearFinder(hash=kind, within_bits=limit)
    gathered = table(kind, hashes, range(len(hashes))).select(finder.gathers)
    together = [set(part["image"].to_pylist()) for _, part in finder.scatter(gathered)]
    for one, other in itertools.combinations(range(len(hashes)), 2):
        if (hashes[one] ^ hashes[other]).bit_count() <= limit:
            assert any({one, other} <= part for part in together)


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("phash", 1), ("phash", 4), ("phash", 16), ("pdq", 1), ("pdq", 40), ("pdq", 80)],
)
def test_two_at_the_limit_meet_even_if_every_key_but_one_differs(kind: Hash, limit: int) -> None:
    finder = NearFinder(hash=kind, within_bits=limit)
    words = WIDTH[kind] // 64
    places = [band * KEY_BITS for band in range(limit + 1)]  # counted from the first word's lowest
    for spared in {0, limit // 2, limit}:
        differing = [place for band, place in enumerate(places) if band != spared]
        other = bits(*((words - 1 - place // 64) * 64 + place % 64 for place in differing))
        gathered = table(kind, [0, other]).select(finder.gathers)
        assert sum(part.num_rows == 2 for _, part in finder.scatter(gathered)) == 1


@settings(max_examples=10)
@given(searches([("phash", 1), ("phash", 4), ("phash", 16), ("pdq", 1), ("pdq", 8)]))
def test_parts_find_together_what_is_found_at_once(search: Search) -> None:
    kind, limit, images, hashes = search
    finder = NearFinder(hash=kind, within_bits=limit)
    rows = table(kind, hashes, images).select(finder.gathers)
    together: defaultdict[str, list[pa.Table]] = defaultdict(list)
    for shard in (rows.slice(0, len(hashes) // 2), rows.slice(len(hashes) // 2)):
        for key, part in finder.scatter(shard):
            together[key].append(part)
    parts = [finder.find(pa.concat_tables(part)) for part in together.values()]
    assert as_found(parts) == settled(finder, rows)


@given(searches())
def test_the_best_stays_then_the_best_of_what_is_not_near_it(search: Search) -> None:
    check_rule(search)


@pytest.mark.parametrize("extreme", EXTREMES)
@settings(max_examples=3)
@given(st.data())
def test_it_is_so_at_the_ends_of_what_limits_may_be(
    extreme: tuple[Hash, int], data: st.DataObject
) -> None:
    search = data.draw(searches([extreme]))
    check_finder(search)
    check_rule(search)


def check_finder(search: Search) -> None:
    kind, limit, images, hashes = search
    outcome = settled(NearFinder(hash=kind, within_bits=limit), table(kind, hashes, images))
    assert outcome is not None
    assert outcome["image"].to_pylist() == found_by_hand(limit, images, hashes)


def check_rule(search: Search) -> None:
    """Each row ends as by hand, and the ledger says how near what of which row."""
    kind, limit, images, hashes = search
    rule = NearDuplicateRule(hash=kind, within_bits=limit, keep="first")
    keeper = kept_by_hand(limit, images, hashes)
    for row, end in enumerate(ends(rule, table(kind, hashes, images))):
        instead = keeper[images[row]]
        assert (end is None) == (instead == images[row])
        if end is not None:
            apart = (hashes[row] ^ hashes[instead]).bit_count()
            assert (end.reason, end.value, end.limit) == ("near_duplicate", apart, limit)
            assert apart <= limit
            assert end.detail == f"{apart} bits from row {instead}, {uid(instead)}; limit {limit}"


@few_examples
@given(searches(), SEED)
def test_order_and_pieces_and_gathering_only_what_is_found_change_nothing(
    search: Search, seed: int
) -> None:
    kind, limit, images, hashes = search
    rule = NearDuplicateRule(hash=kind, within_bits=limit, keep="first", give_captions=True)
    rows = table(kind, hashes, images)
    check_pieces(rule, rows, seed)
    check_pieces(rule.finder, rows, seed)
    found = set(found_by_hand(limit, images, hashes))
    some = rows.filter(pa.array([image in found for image in images], pa.bool_()))
    assert settled(rule, some) == settled(rule, rows)


@few_examples
@given(searches())
def test_what_stays_is_far_apart_whatever_the_policy(
    search: Search,
) -> None:
    kind, limit, images, hashes = search
    scores = pa.array([(row * 7919) % 5 / 4 for row in range(len(images))], pa.float32())
    rows = table(kind, hashes, images).append_column("clip-pocket.score", scores)
    rule = NearDuplicateRule(hash=kind, within_bits=limit, keep="clip_score")
    stays = kept(rule, rows)
    left = {image: one for image, one, stay in zip(images, hashes, stays, strict=True) if stay}
    for one, other in itertools.combinations(left.values(), 2):
        assert (one ^ other).bit_count() > limit
    for image in set(images):  # rows of one URL stay or fall together
        assert len({stay for each, stay in zip(images, stays, strict=True) if each == image}) == 1
        of = hashes[images.index(image)]
        assert any((of ^ one).bit_count() <= limit for one in left.values())


@pytest.mark.parametrize("kind", ["phash", "pdq"])
def test_a_chain_keeps_both_ends_unless_its_middle_is_best(kind: Hash) -> None:
    low, middle, high = bits(0, 1, 2, 3), 0, bits(60, 61, 62, 63)  # 4, 4, and 8 bits apart
    rule = NearDuplicateRule(hash=kind, within_bits=4, keep="first")
    assert kept(rule, table(kind, [low, middle, high])) == [True, False, True]
    assert kept(rule, table(kind, [middle, low, high])) == [True, False, False]
    assert kept(rule, table(kind, [low, high, middle])) == [True, True, False]


@pytest.mark.parametrize(("kind", "limit"), [("phash", 4), ("pdq", 40)])
def test_the_default_limit_is_met_exactly(kind: Hash, limit: int) -> None:
    rule = NearDuplicateRule(hash=kind, keep="first")
    assert rule.limit == limit
    at, over = bits(*range(20, 20 + limit)), bits(*range(20, 21 + limit))
    assert kept(rule, table(kind, [0, at])) == [True, False]
    assert kept(rule, table(kind, [0, over])) == [True, True]


@pytest.mark.parametrize(("kind", "most"), [("phash", 16), ("pdq", 80)])
def test_limits_out_of_range_are_refused(kind: Hash, most: int) -> None:
    for limit in (0, most):
        assert NearDuplicateRule(hash=kind, within_bits=limit).bits == limit
    with pytest.raises(ValidationError, match=f"within_bits of {kind}: at most {most}, not"):
        NearDuplicateRule(hash=kind, within_bits=most + 1)


@pytest.mark.parametrize("wrong", [-1, 4.5, "4", True])
def test_a_limit_is_a_whole_number_of_bits(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="within_bits"):
        NearDuplicateRule(within_bits=wrong)


@pytest.mark.parametrize("kind", ["phash", "pdq"])
@pytest.mark.parametrize("limit", [1, 16])
def test_no_rows_and_one_row_and_rows_of_one_url_all_stay(kind: Hash, limit: int) -> None:
    rule = NearDuplicateRule(hash=kind, within_bits=limit, keep="first")
    assert ends(rule, table(kind, [])) == []
    assert kept(rule, table(kind, [5])) == [True]
    assert all(kept(rule, table(kind, [5] * 6, [3] * 6)))
    assert kept(rule, table(kind, [5] * 6)) == [True] + [False] * 5
    outcome = settled(rule.finder, table(kind, []))
    assert outcome is not None
    assert outcome.num_rows == 0
    assert list(rule.finder.scatter(table(kind, []).select(rule.finder.gathers))) == []


@pytest.mark.parametrize("kind", ["phash", "pdq"])
def test_hashes_in_several_chunks_and_cut_from_longer_ones_are_read_right(kind: Hash) -> None:
    rows = table(kind, [bits(9), 0, bits(40), bits(9), bits(5, 6, 7, 8, 9, 10)])
    rule = NearDuplicateRule(hash=kind, within_bits=1, keep="first")
    cut = pa.concat_tables([rows.slice(1, 2), rows.slice(2, 0), rows.slice(3, 2)])
    assert kept(rule, cut) == [True, False, False, True]


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many hashes each search was given."""
    counts: list[int] = []

    def counted(hashes: Hashes, limit: int, threads: int | None = None) -> Iterator[Pairs]:
        counts.append(len(hashes))
        return near_pair_blocks(hashes, limit, threads)

    for module in (near_duplicate, keepers):
        monkeypatch.setattr(module, "near_pair_blocks", counted)
    return counts


def test_a_million_equal_hashes_are_searched_as_one(searched: list[int]) -> None:
    count = 1_000_000
    hashes = np.full(count, 5, np.uint64)
    hashes[-1] = 5 ^ bits(*range(8))
    finder = NearFinder(hash="phash", within_bits=4)
    rows = pa.table({"image": np.arange(count), COLUMN["phash"]: hashes})
    assert finder.find(rows).tolist() == list(range(count - 1))
    assert searched == [2]


def test_a_rule_too_searches_equal_hashes_as_one(searched: list[int]) -> None:
    count = 10_000
    rule = NearDuplicateRule(within_bits=16, keep="first")
    assert sum(kept(rule, table("phash", [0] * count + [bits(*range(20))]))) == 2
    assert searched == [2]


@pytest.mark.parametrize("kind", ["phash", "pdq"])
def test_only_what_is_compared_is_measured_and_gathered(kind: Hash) -> None:
    rule = NearDuplicateRule(hash=kind, keep="first")
    assert (rule.columns, rule.measured) == ((), (COLUMN[kind],))
    assert rule.gathers == ("row", "uid", "image", COLUMN[kind])
    assert rule.finder.gathers == ("image", COLUMN[kind])
    assert rule.measures == rule.finder.measures


def test_an_image_whose_rows_have_several_hashes_is_found_in_any_order() -> None:
    """As rows of one URL may in an adopted pool, where each was stored by itself."""
    rows = table("phash", [0, bits(*range(20)), bits(0), bits(40, 41, 42, 43, 44, 45)])
    rows = rows.set_column(rows.column_names.index("image"), "image", pa.array([0, 0, 1, 2]))
    finder = NearFinder(hash="phash", within_bits=2)
    for order in itertools.permutations(range(4)):
        assert finder.find(rows.take(list(order))).tolist() == [0, 1]
    alone = rows.take([0, 1, 3])
    assert finder.find(alone).tolist() == []
