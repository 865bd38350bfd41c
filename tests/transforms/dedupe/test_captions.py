"""Text duplicates: what makes two captions the same, and which of them stays."""

import itertools
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, kept, settled, uid
from pydantic import ValidationError

from transforms.dedupe.captions import (
    CAPTION_HASH_SCHEMA,
    TextDuplicateRule,
    caption_hashes,
    normalised,
)

SAME = {
    "case": ["A dog runs.", "a DOG Runs", "a dog runs!"],
    "sharp s": ["STRASSE", "Straße", "strasse"],
    "sigma": ["ΟΔΟΣ", "οδος", "οδοσ"],
    "width": ["ＡＢＣ　１２３", "abc 123", "ABC 123"],
    "ligature": ["ﬁne", "fine"],
    "composed": ["cafe\u0301", "caf\u00e9", "CAFÉ"],
    "punctuation": ["red, green; blue", "red - green (blue)", "red/green…blue", "“red” green blue"],
    "white space": ["a\tb\n c", "a b c", "\u2003a\u00a0b   c ", "a\u200b b\r\nc"],
    "Chinese": ["一只狗，在跑。", "一只狗 在跑", "一只狗, 在跑."],
    "Japanese": ["ｲﾇ", "イヌ"],
}
OTHER = {
    "words": ["a dog", "a dogs", "dog a", "adog"],
    "digits": ["room 1", "room 2", "room 12"],
    "symbols": ["5 + 3", "5 < 3", "5 3", "5 $"],
    "emoji": ["🐶", "🐱", "🐶🐶", ""],
    "punctuation alone": ["...", "!!!", "?", ""],
    "Hindi": ["की", "का", "क", "कि"],
    "Thai": ["มา", "ม้า", "หมา"],
    "accents": ["cafe", "café"],
    "Chinese": ["一只狗", "一只猫", "一 只狗"],
    "scripts": ["a", "а", "α"],  # Latin, Cyrillic, Greek
}
few_examples = settings(max_examples=25)


@pytest.mark.parametrize("captions", SAME.values(), ids=SAME)
def test_these_are_one_caption(captions: Sequence[str]) -> None:
    assert len({normalised(caption) for caption in captions}) == 1
    assert all(normalised(caption) for caption in captions)


@pytest.mark.parametrize("captions", OTHER.values(), ids=OTHER)
def test_these_are_different_captions(captions: Sequence[str]) -> None:
    assert len({normalised(caption) for caption in captions}) == len(captions)


@pytest.mark.parametrize("caption", ["हिन्दी में कुत्ता", "ม้าวิ่ง", "一只狗在跑", "🐶❤", "5 + 3 = 8"])
def test_letters_with_their_marks_digits_and_symbols_are_left_alone(caption: str) -> None:
    assert normalised(caption) == caption


def test_a_caption_of_punctuation_alone_stays_what_it_is_and_one_of_nothing_is_empty() -> None:
    assert normalised(" ?!  . ") == "?! ."
    assert normalised("") == normalised(" \t\n\u3000") == ""


@given(st.text())
def test_to_normalise_again_changes_nothing(caption: str) -> None:
    once = normalised(caption)
    assert normalised(once) == once
    assert once == " ".join(once.split())


WORDS = st.lists(
    st.text(st.sampled_from("abcxyzåéñжшλπ012"), min_size=1, max_size=4), min_size=1, max_size=4
)
GAPS = st.text(st.sampled_from(" ,.;:!?-_()[]'\"/…、。\t\n\u3000\u200b"), max_size=3)


@given(WORDS, st.lists(GAPS, min_size=5, max_size=5))
def test_whatever_stands_between_words_and_around_them_is_one_space(
    words: list[str], gaps: list[str]
) -> None:
    inner = "".join(f"{word} {gap}" for word, gap in zip(words, gaps, strict=False))
    assert normalised(gaps[-1] + inner) == " ".join(words)
    assert normalised((gaps[-1] + inner).upper()) == " ".join(words)


def table(rows: Sequence[tuple[int, str]]) -> pa.Table:
    """Rows of an image number, which names its URL, and a caption."""
    captions = [caption for _, caption in rows]
    hashes = caption_hashes([f"http://h.test/{image}" for image, _ in rows], captions)
    return pa.table(
        {
            "row": pa.array(range(len(rows)), pa.int64()),
            "uid": pa.array([uid(row) for row in range(len(rows))], pa.string()),
            "image": pa.array([image for image, _ in rows], pa.int64()),
            "caption": pa.array(captions, pa.string()),
            "caption_hash.caption": hashes["caption"],
            "caption_hash.url_and_caption": hashes["url_and_caption"],
        }
    )


DRAWN = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["A dog", "a dog!", "a cat", "A cat", "!", "?"])),
    max_size=12,
)
RULES = [
    TextDuplicateRule(keep="first"),
    TextDuplicateRule(keep="first", of="url_and_caption"),
]
for_every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.of)


def keepers_by_hand(rule: TextDuplicateRule, rows: Sequence[tuple[int, str]]) -> list[int]:
    """The first row that says the same, of each row."""
    said = [
        (normalised(caption), image if rule.of == "url_and_caption" else 0)
        for image, caption in rows
    ]
    return [said.index(one) for one in said]


@few_examples
@for_every_rule
@given(DRAWN)
def test_the_first_row_of_each_text_stays_and_is_named(
    rule: TextDuplicateRule, rows: list[tuple[int, str]]
) -> None:
    keepers = keepers_by_hand(rule, rows)
    for row, end in enumerate(ends(rule, table(rows))):
        assert (end is None) == (keepers[row] == row)
        if end is not None:
            told = f"same {rule.of.replace('_', ' ')} as row {keepers[row]}, {uid(keepers[row])}"
            assert (end.reason, end.detail) == ("text_duplicate", told)
            assert (end.value, end.limit) == (None, None)


@few_examples
@for_every_rule
@given(DRAWN, st.integers(0, 3))
def test_order_and_pieces_and_gathering_only_what_is_found_change_nothing(
    rule: TextDuplicateRule, rows: list[tuple[int, str]], seed: int
) -> None:
    whole = table(rows)
    check_pieces(rule, whole, seed)
    found = settled(rule.finder, whole)
    assert found is not None
    keepers = keepers_by_hand(rule, rows)
    shared = {rows[row][0] for row, keeper in enumerate(keepers) if keepers.count(keeper) > 1}
    assert found["image"].to_pylist() == sorted(shared)
    some = whole.filter(pa.array([image in shared for image, _ in rows], pa.bool_()))
    assert settled(rule, some) == settled(rule, whole)


def test_rows_of_one_url_that_say_the_same_are_duplicates_and_others_are_not() -> None:
    rows = table([(0, "A dog"), (0, "a dog!"), (0, "a cat"), (3, "a dog")])
    assert kept(RULES[0], rows) == [True, False, True, False]
    assert kept(RULES[1], rows) == [True, False, True, True]


@for_every_rule
def test_of_no_rows_and_of_one_none_is_dropped(rule: TextDuplicateRule) -> None:
    assert ends(rule, table([])) == []
    assert kept(rule, table([(0, "")])) == [True]


def test_ties_in_size_go_by_uid() -> None:
    rows = table([(row, "the same") for row in range(9)])
    sides = pa.array([4] * 9, pa.int32())
    rows = rows.append_column("original_width", sides).append_column("original_height", sides)
    keeper = min(range(9), key=uid)
    assert keeper != 0
    assert kept(TextDuplicateRule(), rows) == [row == keeper for row in range(9)]


def test_rows_without_a_caption_have_nothing_in_common_but_their_url() -> None:
    rows = table([(0, ""), (0, "  "), (1, ""), (2, "a dog"), (3, "A dog")])
    assert kept(TextDuplicateRule(keep="first"), rows) == [True, True, True, True, False]
    both = TextDuplicateRule(keep="first", of="url_and_caption")
    assert kept(both, rows) == [True, False, True, True, True]


def test_captions_are_not_given_for_they_are_the_same() -> None:
    with pytest.raises(ValidationError, match="give_captions"):
        TextDuplicateRule(give_captions=True)


def test_hashes_tell_url_from_caption_and_take_lone_surrogates() -> None:
    found = caption_hashes(["u", "ua", "u", "u"], ["ab", "b", "\ud800", "\udfff x"])
    assert found.schema == CAPTION_HASH_SCHEMA
    for one, other in itertools.combinations(found["url_and_caption"].to_pylist(), 2):
        assert one != other
    assert caption_hashes([], []).num_rows == 0
