"""Rules joined by and, or and not: set algebra over what each rule alone keeps of the same rows."""

import itertools

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, judged, kept, languages, settled, uid

from schemas.errors import BadInputError
from transforms.decide.basic import CaptionRule
from transforms.decide.caps import PerCaptionRule
from transforms.decide.language import LanguageRule
from transforms.decide.limit import LimitRule
from transforms.decide.logic import AllOf, AnyOf, JoinedRule, Not
from transforms.decide.metaclip import MetaClipRule
from transforms.decide.rare_phrases import RarePhrasesRule
from transforms.decide.rule import Rule
from transforms.decide.sample import EqualLanguagesRule, SampleRule
from transforms.decide.selection import SelectionRule

LEAVES: dict[str, Rule] = {
    "caption": CaptionRule(min_words=2),
    "limit": LimitRule(value="own", at_least=1.0),
    "least": LimitRule(value="own", at_most=1.0),
    "best": LimitRule(value="own", top_fraction=0.4),
    "language": LanguageRule(keep=("de",)),
    "best_each": LimitRule(value="own", top_fraction=0.3, each_language=True),
    "sample": SampleRule(rows=4),
    "images": SampleRule(images=2),
    "per_caption": PerCaptionRule(at_most=1),
    "equal_languages": EqualLanguagesRule(groups=(("en",), ("de",))),
    "metaclip": MetaClipRule(concepts="concepts", t=1),
    "rare_phrases": RarePhrasesRule(phrases="phrases", min_captions=2, at_most=1),
}
ROW = st.tuples(
    st.sampled_from([None, 0.0, 1.0, 2.0]),
    st.sampled_from(["", "a", "a dog", "two dogs"]),
    st.sampled_from(["en", "de", None]),
    st.integers(0, 4),
    st.lists(st.integers(0, 2), unique=True, max_size=2),
)
Tree = str | tuple[str, list]
TREES = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda tree: (
        st.tuples(st.sampled_from(["all_of", "any_of"]), st.lists(tree, min_size=1, max_size=3))
        | st.tuples(st.just("not"), st.lists(tree, min_size=1, max_size=1))
    ),
    max_leaves=5,
)
KINDS: dict[str, type[JoinedRule]] = {"all_of": AllOf, "any_of": AnyOf, "not": Not}


def _rows(drawn: list[tuple]) -> pa.Table:
    values, captions, codes, images, named = zip(*drawn, strict=True) if drawn else [()] * 5
    numbers = range(len(drawn))
    return pa.table(
        {
            "row": pa.array(numbers, pa.int64()),
            "uid": pa.array([uid(number) for number in numbers], pa.string()),
            "image": pa.array(images, pa.int64()),
            "caption": pa.array(captions, pa.string()),
            "own.value": pa.array(values, pa.float64()),
            "language.languages": languages(list(codes)),
            "concepts.entries": pa.array(named, pa.list_(pa.int32())),
            "phrases.phrases": pa.array([[*map(str, one)] for one in named], pa.list_(pa.string())),
        }
    )


def _name(tree: Tree) -> str:
    return tree if isinstance(tree, str) else tree[0]


def _rule(tree: Tree) -> Rule:
    if isinstance(tree, str):
        return LEAVES[tree]
    kind, branches = tree
    rules = tuple(_rule(branch) for branch in branches)
    return KINDS[kind](names=tuple(map(_name, branches)), rules=rules)


def _keeps(tree: Tree, rows: pa.Table) -> set[int]:
    """By sets: intersection, union, complement of what each leaf alone keeps of all rows."""
    if isinstance(tree, str):
        return {place for place, stays in enumerate(kept(LEAVES[tree], rows)) if stays}
    kind, branches = tree
    found = [_keeps(branch, rows) for branch in branches]
    if kind == "not":
        return set(range(rows.num_rows)) - found[0]
    return set.intersection(*found) if kind == "all_of" else set.union(*found)


@given(TREES, st.lists(ROW, max_size=12))
def test_joined_rules_are_set_algebra(tree: Tree, drawn: list[tuple]) -> None:
    rows = _rows(drawn)
    found = kept(_rule(tree), rows)
    assert {place for place, stays in enumerate(found) if stays} == _keeps(tree, rows)


@settings(max_examples=20)
@given(TREES, st.lists(ROW, max_size=12), st.integers(0, 5))
def test_joined_rules_do_not_depend_on_order_or_shards(
    tree: Tree, drawn: list[tuple], seed: int
) -> None:
    check_pieces(_rule(tree), _rows(drawn), seed)


@given(TREES)
def test_a_joined_rule_asks_for_what_its_rules_ask_for(tree: Tree) -> None:
    def leaves(tree: Tree) -> list[Rule]:
        if isinstance(tree, str):
            return [LEAVES[tree]]
        return [leaf for branch in tree[1] for leaf in leaves(branch)]

    rule, those = _rule(tree), leaves(tree)
    assert rule.whole_pool == any(leaf.whole_pool for leaf in those)
    for names in ("columns", "measured", "measures"):
        wanted = itertools.chain.from_iterable(getattr(leaf, names) for leaf in those)
        assert list(getattr(rule, names)) == list(dict.fromkeys(wanted))
    if isinstance(rule, JoinedRule):
        wanted = itertools.chain.from_iterable(leaf.gathers for leaf in those if leaf.whole_pool)
        assert list(rule.gathers) == list(dict.fromkeys(wanted))


def _value_rows(*values: float | None) -> pa.Table:
    return _rows([(value, "a dog", "en", 0, []) for value in values])


def test_the_intersection_of_two_top_halves_is_not_one_after_the_other() -> None:
    """DataComp-1B's way: both rank all rows. One after the other, half of a half would stay."""
    rows = _value_rows(1, 2, 3, 4).append_column("other.value", pa.array([4.0, 3.0, 2.0, 1.0]))
    # int(n * f) counts from 0, so one row more than the half stays.
    one, other = (LimitRule(value=name, top_fraction=0.5) for name in ("own", "other"))
    assert kept(AllOf(names=("a", "b"), rules=(one, other)), rows) == [False, True, True, False]


def test_all_of_tells_the_first_rule_that_drops() -> None:
    rules = (LEAVES["limit"], LEAVES["least"])
    low, one, high, none = ends(
        AllOf(names=("limit", "least"), rules=rules), _value_rows(0, 1, 2, None)
    )
    assert one is None
    assert [end and end.reason for end in (low, high, none)] == [
        "under_limit",
        "over_limit",
        "no_value",
    ]
    assert low is not None
    assert (low.value, low.limit, low.detail) == (0, 1, "own 0, limit 1")


def test_any_of_tells_what_each_rule_says() -> None:
    rule = AnyOf(names=("limit", "language"), rules=(LEAVES["limit"], LEAVES["language"]))
    low, high, none = ends(rule, _value_rows(0, 1, None))
    assert high is None
    assert low is not None
    assert low.reason == "no_rule_keeps"
    assert low.detail == "limit: own 0, limit 1; language: en; de 0.000, limit 0.5"
    assert none is not None
    assert none.detail == "limit: own has no value; language: en; de 0.000, limit 0.5"


def test_not_tells_what_the_rule_looked_at() -> None:
    low, high, none = ends(Not(names=("limit",), rules=(LEAVES["limit"],)), _value_rows(0, 1, None))
    assert low is none is None
    assert high is not None
    assert (high.reason, high.value, high.limit) == ("rule_keeps", 1, 1)
    assert high.detail == "limit keeps it: own 1, limit 1"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sample", "sample keeps it: among the 3 of 3 rows drawn with seed 0"),
        ("per_caption", "per_caption keeps it: a dog: among the 1 images that may stay"),
        ("best", "best keeps it: own 2, limit 0"),
        ("least", None),
        (("not", ["language"]), "not keeps it: language: en; de 0.000, limit 0.5"),
        (
            ("any_of", ["limit", "language"]),
            "any_of keeps it: limit keeps it: own 2, limit 1; language: en; de 0.000, limit 0.5",
        ),
        (("all_of", ["caption", "limit"]), "all_of keeps it: own 2, limit 1"),
    ],
)
def test_not_never_tells_of_a_drop_that_was_none(name: Tree, told: str | None) -> None:
    found = ends(_rule(("not", [name])), _value_rows(0, 0, 2))[2]
    assert (found and found.detail) == told


def test_not_of_a_selection_keeps_the_others(tmp_path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(uid(1) + "\n")
    rule = Not(names=("selection",), rules=(SelectionRule(file=path),))
    rule.check()
    one, two, three = ends(rule, _value_rows(0, 0, 0))
    assert one is three is None
    assert two is not None
    assert two.detail == "selection keeps it: in mine.txt"
    path.write_text("nothing")
    with pytest.raises(BadInputError):
        rule.check()


def test_joined_rules_are_the_same_only_if_all_of_them_is(tmp_path) -> None:
    trees = [
        "limit",
        ("all_of", ["limit"]),
        ("any_of", ["limit"]),
        ("not", ["limit"]),
        ("all_of", ["limit", "best"]),
        ("all_of", ["best", "limit"]),
        ("any_of", ["limit", "best"]),
        ("all_of", [("all_of", ["limit"]), "best"]),
        ("all_of", [("any_of", ["limit"]), "best"]),
        ("all_of", [("not", ["limit"]), "best"]),
        ("all_of", [("all_of", ["limit", "best"])]),
        ("not", [("not", ["limit"])]),
        ("all_of", ["sample"]),
        ("all_of", ["images"]),
    ]
    identities = [repr(_rule(tree).identity()) for tree in trees]
    assert len(set(identities)) == len(trees)
    assert identities == [repr(_rule(tree).identity()) for tree in trees]
    # Rules of two kinds that have the same settings.
    host = LEAVES["per_caption"].model_dump()
    pairs = [(name, SampleRule(rows=host["at_most"])) for name in ("sample", "budget")]
    one, two = (AllOf(names=(name,), rules=(rule,)).identity() for name, rule in pairs)
    assert one != two


def test_outcomes_within_outcomes_survive_their_file() -> None:
    inner = AllOf(names=("best", "sample"), rules=(LEAVES["best"], LEAVES["sample"]))
    rule = Not(names=("any_of",), rules=(AnyOf(names=("all_of",), rules=(inner,)),))
    rows = _value_rows(*range(10))
    outcome = settled(rule, rows)
    assert outcome is not None
    assert outcome.num_rows == 1
    best = set(range(5, 10))  # one more than int(10 * 0.4)
    sampled = _keeps("sample", rows)
    found = judged(rule, rows, outcome)
    assert {n for n, end in enumerate(found) if end is not None} == best & sampled
