import pytest

from transforms.instruct.names.english import categories, plural, singular
from transforms.instruct.names.mention import Mention
from transforms.instruct.names.vocabulary import Vocabulary, number_in


def named(text: str, *labels: str) -> list[tuple[str, int | None, bool]]:
    return [(m.name, m.count, m.denied) for m in Vocabulary(labels).mentions(text)]


def test_the_longest_name_counts() -> None:
    assert named("A teddy bear and a bear") == [("teddy bear", None, False), ("bear", None, False)]
    assert named("fire hydrants, hot dogs") == [
        ("fire hydrant", None, False),
        ("hot dog", None, False),
    ]


def test_numbers_count_what_follows_soon() -> None:
    assert named("Two small brown dogs and 3 cats") == [("dog", 2, False), ("cat", 3, False)]
    assert named("one of the dogs") == [("dog", None, False)]
    assert named("two very small brown dogs") == [("dog", None, False)]


def test_denial_ends_with_its_clause() -> None:
    assert named("There isn't a dog, but a cat. No bird sings; cows graze.") == [
        ("dog", None, True),
        ("cat", None, False),
        ("bird", None, True),
        ("cow", None, False),
    ]


def test_labels_are_names_too() -> None:
    (mention,) = Vocabulary(["Red Panda"]).mentions("red pandas climb")
    assert mention == Mention("red panda", frozenset({"Red Panda"}), None, denied=False)
    assert Vocabulary(["dog"]).categories("dogs") == frozenset({"dog"})
    assert Vocabulary().categories("unheard of") == frozenset({"unheard of"})


def test_every_category_of_coco_is_known_by_its_name() -> None:
    assert len(categories()) == 77  # without three that mostly mean something else
    for category in categories():
        (mention,) = Vocabulary().mentions(f"there are {plural(category)}")
        assert category in mention.categories


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("person", "people"),
        ("knife", "knives"),
        ("bus", "buses"),
        ("giraffe", "giraffes"),
        ("couch", "couches"),
        ("cherry", "cherries"),
        ("boy", "boys"),
        ("sheep", "sheep"),
        ("wine glass", "wine glasses"),
        ("skis", "skis"),
    ],
)
def test_singular_and_plural(one: str, many: str) -> None:
    assert plural(one) == many
    head, _, last = many.rpartition(" ")
    if one != "skis":
        assert f"{head} {singular(last)}".strip() == one


@pytest.mark.parametrize(
    ("text", "number"),
    [("There are three.", 3), ("12", 12), ("none", None), ("zero", 0), ("123456 of them", None)],
)
def test_number_in(text: str, number: int | None) -> None:
    assert number_in(text) == number
