"""Objects and numbers in Chinese: what is named, how many, and what boxes say to it."""

import pytest

from schemas.context import Context
from tests.transforms.instruct.talk import boxes
from transforms.instruct.checks.grounding import count_fault, object_fault
from transforms.instruct.names import english
from transforms.instruct.names.chinese import _names
from transforms.instruct.names.vocabulary import Vocabulary, number_in

STREET = Context(captions=("一个男人走过一家商店。",), things=boxes(person=2, car=3))
VOCABULARY = Vocabulary(["商店", "dog"])


def named(text: str) -> list[tuple[str, int | None, bool]]:
    return [(m.name, m.count, m.denied) for m in VOCABULARY.mentions(text)]


def test_every_name_is_one_of_a_category_of_coco() -> None:
    known = set(english.categories()) | {"orange", "mouse", "sink"}
    told = frozenset[str]().union(*_names().values())
    assert told == known
    for name in _names():
        (mention,) = VOCABULARY.mentions(f"图中有一些{name}")
        assert mention.name == name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("两只棕色的狗和3只猫", [("狗", 2, False), ("猫", 3, False)]),
        ("一个男人骑着自行车", [("男人", 1, False), ("自行车", None, False)]),
        ("斑马线旁停着一辆车", [("车", 1, False)]),
        ("马路上的人行道给人宁静的感觉", []),
        ("穿牛仔裤的人在喝牛奶", [("人", None, False)]),
        ("第三个人牵着十几只羊", [("人", None, False), ("羊", None, False)]),
        ("二十三匹马在草地上", [("马", 23, False)]),
        ("图中没有狗，但有一只猫。", [("狗", None, True), ("猫", 1, False)]),
        ("狗也看不到", [("狗", None, True)]),
        ("两个穿着红色衣服站在树下的女孩", [("女孩", None, False)]),
        ("熊猫在吃竹子，泰迪熊在床头柜上", [("泰迪熊", None, False)]),
        ("一家商店里有很多人", [("商店", None, False), ("人", None, False)]),
        ("令人愉快，人们常来", []),
    ],
)
def test_the_longest_name_counts_and_numbers_count_what_follows(text: str, found: list) -> None:
    assert named(text) == found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("三只。", 3),
        ("图中一共有两个人", 2),
        ("十二辆", 12),
        ("二十", 20),
        ("5", 5),
        ("第二只", None),
        ("几只", None),
        ("一起玩", None),
    ],
)
def test_number_in(text: str, number: int | None) -> None:
    assert number_in(text) == number


@pytest.mark.parametrize(
    ("answer", "unknown"),
    [
        ("两个男人和一辆汽车。", None),
        ("一位女士在开车。", None),
        ("那里有一只小狗。", "小狗"),
        ("这里没有狗，可是有一只猫。", "猫"),
        ("长椅上放着手机。", "长椅"),
        ("商店门口很热闹。", None),
        ("A puppy and 一辆汽车。", "puppy"),
    ],
)
def test_an_object_is_held_by_boxes_or_captions(answer: str, unknown: str | None) -> None:
    told = object_fault([("", answer)], STREET, VOCABULARY)
    assert told == (unknown and f"{unknown!r} is neither in the boxes nor in the captions")


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        ("图中有几辆汽车？", "3", None),
        ("图中有几辆汽车？", "两辆。", "2 of '汽车', 3 in the boxes"),
        ("这张图片里一共有多少人？", "有三个人。", "3 of '人', 2 in the boxes"),
        ("左边有几辆汽车？", "一辆。", None),  # some of them
        ("有几辆红色的汽车？", "一辆。", None),
        ("那里有什么？", "四辆旧汽车。", "4 of '汽车', 3 in the boxes"),
        ("那里有什么？", "两辆汽车。", None),
        ("那里有什么？", "没有四辆汽车。", None),
    ],
)
def test_numbers_are_those_of_the_boxes(question: str, answer: str, told: str | None) -> None:
    assert count_fault([(question, answer)], STREET, VOCABULARY) == told


def test_boxes_are_not_all_there_is_where_captions_say_so() -> None:
    crowd = Context(captions=("街上有很多人",), things=boxes(person=3))
    assert count_fault([("图中有多少人？", "六个")], crowd, VOCABULARY) is None
    few = Context(captions=("街上有三个人",), things=boxes(person=3))
    assert count_fault([("图中有多少人？", "六个")], few, VOCABULARY) is not None


def test_a_label_in_chinese_is_the_same_thing() -> None:
    context = Context(things=boxes(狗=2, 商店=1))
    assert object_fault([("", "Two dogs.")], context, VOCABULARY) is None
    assert count_fault([("How many dogs are there?", "3")], context, VOCABULARY) is not None
    assert object_fault([("", "两只狗在商店前。")], context, VOCABULARY) is None


def test_captions_in_either_language_hold_what_they_name() -> None:
    context = Context(captions=("a dog runs",), things=boxes(person=1))
    assert object_fault([("", "一只狗在跑。")], context, VOCABULARY) is None
    assert (
        object_fault([("", "A dog runs.")], Context(captions=("一只狗",), things=()), VOCABULARY)
        is None
    )
