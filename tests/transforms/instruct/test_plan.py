from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.dialogue import Kind
from transforms.instruct.plan import PLAN_SCHEMA, SURVEY_SCHEMA, plan_dialogues
from transforms.instruct.policy import InstructPolicy, making_identity

SOME = (Kind.CONVERSATION, Kind.SHORT_ANSWER, Kind.YES_NO)


def survey(possible: list[list[Kind]]) -> pa.Table:
    rows = [
        {"uid": f"{n * 7919 + 1:032x}", "shard": n % 3, "possible": own}
        for n, own in enumerate(possible)
    ]
    return pa.Table.from_pylist(rows, schema=SURVEY_SCHEMA)


def planned(possible: list[list[Kind]], **policy: Any) -> Counter[str]:
    plan = plan_dialogues(survey(possible), InstructPolicy.model_validate(policy))
    assert plan.schema == PLAN_SCHEMA
    names = list(zip(*(plan[c].to_pylist() for c in ("uid", "kind", "number")), strict=True))
    assert len(set(names)) == len(names)
    most = policy.get("per_kind", 1)
    numbers = {
        (uid, kind): {n for u, k, n in names if (u, k) == (uid, kind)} for uid, kind, _ in names
    }
    assert all(own == set(range(len(own))) and len(own) <= most for own in numbers.values())
    able = {f"{n * 7919 + 1:032x}": own for n, own in enumerate(possible)}
    assert all(kind in able[uid] for uid, kind, _ in names)
    assert max(Counter(uid for uid, _, _ in names).values(), default=0) <= policy.get(
        "per_image", 1
    )
    return Counter(plan["kind"].to_pylist())


def test_shares_are_met() -> None:
    shares = {"conversation": 58, "short_answer": 23, "yes_no": 77}
    assert planned([list(SOME)] * 158, shares=shares) == shares
    assert planned([list(SOME)] * 79, shares=shares, per_image=2) == shares


def test_what_few_images_can_give_comes_first_and_the_rest_goes_to_others() -> None:
    possible = [list(SOME)] * 10 + [[Kind.SHORT_ANSWER]] * 90
    shares = {"short_answer": 1, "yes_no": 1}
    assert planned(possible, shares=shares) == {"yes_no": 10, "short_answer": 90}


def test_images_that_give_little_are_taken_for_what_they_give() -> None:
    rich = [*SOME, Kind.COUNTING, Kind.REGION]
    possible = [rich, [Kind.SHORT_ANSWER]] * 500
    shares = {"conversation": 10, "short_answer": 60, "yes_no": 10, "counting": 10, "region": 10}
    assert planned(possible, shares=shares) == {kind: 10 * share for kind, share in shares.items()}


def test_counts_are_met_or_as_many_as_there_can_be() -> None:
    possible = [list(SOME)] * 10 + [[Kind.SHORT_ANSWER]] * 90
    counts = {"short_answer": 7, "yes_no": 4}
    assert planned(possible, counts=counts) == counts
    counts = {"short_answer": 7, "yes_no": 40}
    assert planned(possible, counts=counts) == {"short_answer": 7, "yes_no": 10}
    several = {"per_image": 2, "per_kind": 2}
    assert planned(possible, counts=counts, **several) == {"short_answer": 7, "yes_no": 20}


def test_a_pool_that_grows_keeps_nearly_all_that_was_planned() -> None:
    policy = InstructPolicy.model_validate({"shares": {"conversation": 1, "yes_no": 1}})
    small = plan_dialogues(survey([list(SOME)] * 1000), policy).to_pylist()
    large = plan_dialogues(survey([list(SOME)] * 1050), policy).to_pylist()
    there = {(row["uid"], row["kind"]) for row in large}
    stayed = sum((row["uid"], row["kind"]) in there for row in small)
    assert stayed > 0.93 * len(small)


def test_another_seed_plans_otherwise() -> None:
    one, other = (
        plan_dialogues(survey([list(SOME)] * 100), InstructPolicy(seed=seed)) for seed in (0, 1)
    )
    assert one != other
    assert one == plan_dialogues(survey([list(SOME)] * 100), InstructPolicy(seed=0))


@given(
    st.lists(st.sets(st.sampled_from(SOME)), max_size=30),
    st.dictionaries(st.sampled_from(SOME), st.floats(0.1, 99), min_size=1),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_every_place_is_used(
    possible: list[set[Kind]], shares: dict, per_image: int, per_kind: int
) -> None:
    able = [[kind for kind in SOME if kind in own and kind in shares] for own in possible]
    found = planned(able, shares=shares, per_image=per_image, per_kind=per_kind)
    assert found.total() == sum(min(per_kind * len(own), per_image) for own in able)


def test_none_is_planned_about_nothing() -> None:
    assert planned([]) == {}
    assert planned([[], []]) == {}


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"shares": {"reasoning": 1}}, "template cannot make reasoning, which no caption states"),
        ({"counts": {"detail": 1}}, "cannot make detail"),
        ({"counts": {"yes_no": 1}, "shares": {"yes_no": 1}}, "name shares or counts, not both"),
        ({"shares": {}}, "shares: name at least one kind"),
        ({"shares": {"yes_no": 0}}, "greater than 0"),
        ({"shares": {"yes_no": float("nan")}}, "finite"),
        ({"shares": {"poetry": 1}}, "Input should be"),
    ],
)
def test_impossible_wishes_are_refused(policy: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        InstructPolicy.model_validate(policy)


def test_what_is_planned_is_no_part_of_what_is_made() -> None:
    one = InstructPolicy.model_validate({"shares": {"yes_no": 1}, "samples_per_shard": 3})
    assert making_identity(one) == making_identity(InstructPolicy())
    assert making_identity(InstructPolicy(seed=1)) != making_identity(one)
