"""Balance over concepts: MetaCLIP's probabilities and LLaVA's rare phrases, in plain Python."""

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, judged, kept, languages, settled, uid
from pydantic import ValidationError

from transforms.decide.metaclip import MetaClipRule, t_of_tail, tail_share
from transforms.decide.rare_phrases import RarePhrasesRule

SEED = st.integers(0, 3)
NAMED = st.none() | st.lists(st.integers(0, 6), unique=True, max_size=4).map(sorted)
CODES = st.sampled_from(["en", "de", None])


def _named(entries: list, codes: list[str | None] | None = None) -> pa.Table:
    columns = {
        "uid": pa.array([uid(number) for number in range(len(entries))], pa.string()),
        "concepts.entries": pa.array(entries, pa.list_(pa.int32())),
    }
    if codes is not None:
        columns["language.languages"] = languages(codes)
    return pa.table(columns)


def _phrased(phrases: list, begin: int = 0) -> pa.Table:
    numbers = range(begin, begin + len(phrases))
    return pa.table(
        {
            "row": pa.array(numbers, pa.int64()),
            "uid": pa.array([uid(number) for number in numbers], pa.string()),
            "phrases.phrases": pa.array(phrases, pa.list_(pa.string())),
        }
    )


# MetaCLIP.


def test_an_entry_keeps_a_caption_with_probability_t_over_its_count() -> None:
    """Rows with one entry each: 20,000 of entry 1, 5,000 of 2, 300 of 3; t = 1,000."""
    entries = [[1]] * 20_000 + [[2]] * 5_000 + [[3]] * 300
    for seed in (0, 1):
        rule = MetaClipRule(concepts="concepts", t=1000, seed=seed)
        rows = _named(entries)
        dropped = np.logical_or.reduce([v.dropped for v in rule.judge(rows, settled(rule, rows))])
        shares = [np.mean(~dropped[a:b]) for a, b in ((0, 20_000), (20_000, 25_000))]
        # Standard deviations 0.0015 and 0.0057; 6 of these allowed.
        assert abs(shares[0] - 0.05) < 6 * 0.0015
        assert abs(shares[1] - 0.2) < 6 * 0.0057
        assert not dropped[25_000:].any()


def test_each_entry_of_a_caption_draws_for_itself() -> None:
    """Two entries of 4,000 captions each, t = 2,000: a caption of both stays with 1 - 0.5^2."""
    rule = MetaClipRule(concepts="concepts", t=2000)
    rows = _named([[0, 9]] * 4000)
    dropped = np.logical_or.reduce([v.dropped for v in rule.judge(rows, settled(rule, rows))])
    assert abs(np.mean(~dropped) - 0.75) < 6 * 0.0068


@given(st.lists(NAMED, max_size=30), st.integers(1, 8), SEED)
def test_who_has_a_rare_entry_stays_and_who_has_none_goes(
    entries: list[list[int] | None], t: int, seed: int
) -> None:
    counts = Counter(entry for named in entries for entry in named or [])
    found = ends(MetaClipRule(concepts="concepts", t=t, seed=seed), _named(entries))
    for named, end in zip(entries, found, strict=True):
        if not named:
            assert end is not None
            assert (end.reason, end.detail) == ("no_concept", "names no entry of concepts")
            assert end.value is end.limit is None
        elif end is not None:
            rarest = min(counts[entry] for entry in named)
            assert rarest > t
            assert (end.reason, end.value, end.limit) == ("common_concepts", rarest, t)
            assert end.detail == f"rarest entry named by {rarest} captions, t {t}"


@settings(max_examples=20)
@given(st.lists(st.tuples(NAMED, CODES), max_size=20), st.integers(1, 4), st.booleans(), SEED)
def test_metaclip_does_not_depend_on_order_or_shards(
    drawn: list[tuple[list[int] | None, str | None]], t: int, by_language: bool, seed: int
) -> None:
    rows = _named([named for named, _ in drawn], [code for _, code in drawn])
    rule = MetaClipRule(concepts="concepts", t=t, by_language=by_language, seed=seed)
    check_pieces(rule, rows, seed)
    if by_language:
        check_pieces(rule.model_copy(update={"tail_of": "de"}), rows, seed)


@given(st.lists(st.tuples(NAMED, CODES), max_size=30), st.integers(1, 6), st.none() | CODES)
def test_languages_count_apart_and_each_has_its_t(
    drawn: list[tuple[list[int] | None, str | None]], t: int, tail_of: str | None
) -> None:
    rows = _named([named for named, _ in drawn], [code for _, code in drawn])
    rule = MetaClipRule(concepts="concepts", t=t, by_language=True, tail_of=tail_of)
    outcome = settled(rule, rows)
    assert outcome is not None
    counts: defaultdict[str, Counter] = defaultdict(Counter)
    for named, code in drawn:
        counts[code or "und"].update(named or [])
    limits = {code: _plain_t(counts, code, t, tail_of) for code in counts if counts[code]}
    expected = [
        {"group": code, "entry": entry, "count": count, "t": limits[code]}
        for code in sorted(counts)
        for entry, count in sorted(counts[code].items())
    ]
    assert outcome.to_pylist() == expected


def _plain_t(counts: dict[str, Counter], code: str, t: int, tail_of: str | None) -> int:
    """MetaCLIP 2: as large a share of the matches in the tail as the other language has."""
    if tail_of is None or not counts.get(tail_of) or code == tail_of:
        return t
    whole, other = list(counts[tail_of].values()), sorted(counts[code].values())
    share = sum(count for count in whole if count < t) / sum(whole)
    gaps = [abs(sum(other[: n + 1]) / sum(other) - share) for n in range(len(other))]
    return other[gaps.index(min(gaps))]


def test_the_tail_of_another_language_by_hand() -> None:
    """In the one 1 + 2 + 3 of 16 matches are of entries under 4. In the other the first counts
    add up to 1, 2, 4, 8 of 16: 0.375 lies between 0.25 and 0.5, and the first of two wins."""
    assert tail_share(np.array([10, 3, 1, 2]), 4) == 0.375
    assert t_of_tail(np.array([8, 1, 4, 2, 1]), 0.375) == 2
    assert t_of_tail(np.array([8, 1, 4, 2, 1]), 0.4) == 4
    assert t_of_tail(np.array([5]), 0.0) == 5


def test_a_language_without_matches_has_no_limit_and_no_captions() -> None:
    rows = _named([[1], [], [2]], ["en", "de", "fr"])
    for tail_of in ("en", "de", "cs"):
        rule = MetaClipRule(concepts="concepts", t=2, by_language=True, tail_of=tail_of)
        assert kept(rule, rows) == [True, False, True]


def test_another_seed_keeps_others() -> None:
    rows = _named([[1]] * 200)
    one, two = (kept(MetaClipRule(concepts="concepts", t=100, seed=s), rows) for s in (0, 1))
    assert one != two


def test_a_tail_needs_languages() -> None:
    with pytest.raises(ValidationError, match="goes with"):
        MetaClipRule(concepts="c", t=1, tail_of="en")
    with pytest.raises(ValidationError):
        MetaClipRule(concepts="c", t=0)


# LLaVA's rare phrases.

PHRASES = st.none() | st.lists(st.sampled_from("abcdefg"), unique=True, max_size=4)


@given(st.lists(PHRASES, max_size=30), st.integers(1, 4), st.integers(1, 5), SEED)
def test_from_the_rarest_phrase_up_captions_are_added(
    phrases: list[list[str] | None], min_captions: int, at_most: int, seed: int
) -> None:
    """Every phrase that counts has all its captions, or at least the number drawn of each."""
    rule = RarePhrasesRule(phrases="phrases", min_captions=min_captions, at_most=at_most, seed=seed)
    found = ends(rule, _phrased(phrases))
    counts = Counter(phrase for named in phrases for phrase in named or [])
    known = {phrase: count for phrase, count in counts.items() if count >= min_captions}
    stays = [end is None for end in found]
    for phrase, count in known.items():
        having = [n for n, named in enumerate(phrases) if phrase in (named or [])]
        assert sum(stays[n] for n in having) >= min(count, at_most)
    assert sum(stays) <= sum(min(count, at_most) for count in known.values())
    for named, end in zip(phrases, found, strict=True):
        its = [known[phrase] for phrase in named or [] if phrase in known]
        if not its:
            assert end is not None
            assert (end.value, end.limit) == (0, at_most)
            assert end.detail == f"no phrase that {min_captions} captions or more have"
        elif end is not None:
            assert end.reason == "no_rare_phrase"
            assert end.value == min(its) > at_most
            told = f"rarest phrase has {min(its)} captions, {at_most} drawn of each"
            assert end.detail == told


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 3), SEED)
def test_of_a_phrase_alone_so_many_stay_and_no_more(
    phrases: list[str], at_most: int, seed: int
) -> None:
    rule = RarePhrasesRule(phrases="phrases", min_captions=2, at_most=at_most, seed=seed)
    stays = kept(rule, _phrased([[phrase] for phrase in phrases]))
    left = Counter(phrase for phrase, stay in zip(phrases, stays, strict=True) if stay)
    counts = Counter(phrases)
    assert left == {p: min(n, at_most) for p, n in counts.items() if n >= 2}


@settings(max_examples=20)
@given(st.lists(PHRASES, max_size=20), SEED)
def test_rare_phrases_do_not_depend_on_order_or_shards(
    phrases: list[list[str] | None], seed: int
) -> None:
    rule = RarePhrasesRule(phrases="phrases", min_captions=2, at_most=2, seed=seed)
    check_pieces(rule, _phrased(phrases), seed)


def test_what_is_drawn_of_a_phrase_is_spread_over_the_corpus() -> None:
    """200 of 2,000: 100 in each half on average, standard deviation 6.7."""
    rows = _phrased([["a cat"]] * 2000)
    rule = RarePhrasesRule(phrases="phrases", at_most=200)
    one, two = (kept(rule.model_copy(update={"seed": s}), rows) for s in (0, 1))
    assert sum(one) == sum(two) == 200
    assert abs(sum(one[:1000]) - 100) < 40
    assert abs(sum(a and b for a, b in zip(one, two, strict=True)) - 20) < 25


def test_rows_outside_the_outcome_stay_whatever_their_numbers() -> None:
    """Each shard asks for its rows alone: before, among and after those that are listed."""
    rule = RarePhrasesRule(phrases="phrases", min_captions=1)
    outcome = settled(rule, _phrased([[], ["a"], []], begin=10))
    found = judged(rule, _phrased([[]] * 6, begin=8), outcome)
    assert [end is None for end in found] == [True, True, False, True, False, True]
