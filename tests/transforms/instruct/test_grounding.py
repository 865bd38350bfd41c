import pytest

from schemas.context import Context
from tests.transforms.instruct.talk import boxes
from transforms.instruct.grounding import count_fault, object_fault
from transforms.instruct.objects import Vocabulary

STREET = Context(captions=("A man walks past a shop",), things=boxes(person=2, car=3))
VOCABULARY = Vocabulary(["shop", "red panda"])


@pytest.mark.parametrize(
    ("answer", "unknown"),
    [
        ("Two men and a car.", None),
        ("A woman drives.", None),  # a person, as its box says
        ("There is a puppy.", "puppy"),
        ("There is no dog here.", None),
        ("No dog, but a cat sleeps.", "cat"),
        ("There isn't any bus; a bench stands there.", "bench"),
        ("The street has zero trucks.", None),
        ("It is an orange car by a table.", None),  # words with other meanings are left alone
        ("A red panda sits there.", "red panda"),  # a label of other images
        ("A bag and a phone lie there.", "bag"),
    ],
)
def test_an_object_is_held_by_boxes_or_captions(answer: str, unknown: str | None) -> None:
    told = object_fault([answer], STREET, VOCABULARY)
    assert told == (unknown and f"{unknown!r} is neither in the boxes nor in the captions")


def test_without_boxes_nothing_is_unknown() -> None:
    assert object_fault(["A zebra."], Context(captions=("a man",)), VOCABULARY) is None
    assert object_fault(["A zebra."], Context(captions=("a man",), things=()), VOCABULARY)


def test_a_word_of_several_meanings_needs_one_of_them() -> None:
    context = Context(things=boxes(suitcase=1))
    assert object_fault(["A bag."], context, VOCABULARY) is None
    assert object_fault(["A backpack."], context, VOCABULARY) is not None


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        ("How many cars are there?", "3", None),
        ("How many cars are there?", "There are two.", "2 of 'car', 3 in the boxes"),
        ("How many cars can you see in the picture?", "four", "4 of 'car', 3 in the boxes"),
        ("How many cars are parked on the left?", "Two.", None),  # some of them
        ("How many cars are there?", "Quite a few.", None),
        ("What stands there?", "Two cars.", None),
        ("What stands there?", "Four old cars.", "4 of 'car', 3 in the boxes"),
        ("What stands there?", "12 of the men and 5 in cars.", None),  # counts nothing it names
        ("What stands there?", "Not four cars.", None),
        ("How many people are there?", "Three.", "3 of 'person', 2 in the boxes"),
    ],
)
def test_numbers_are_those_of_the_boxes(question: str, answer: str, told: str | None) -> None:
    assert count_fault([(question, answer)], STREET, VOCABULARY) == told


def test_boxes_are_not_all_there_is_where_captions_say_so() -> None:
    crowd = Context(captions=("a crowd of people",), things=boxes(person=3, dog=2))
    asked = "How many people are there?"
    assert count_fault([(asked, "6")], crowd, VOCABULARY) is None
    assert count_fault([(asked, "2")], crowd, VOCABULARY) == "2 of 'person', 3 in the boxes"
    assert count_fault([("How many dogs are there?", "6")], crowd, VOCABULARY) is not None
    known = Context(captions=("a crowd of people", "three people"), things=boxes(person=3))
    assert count_fault([(asked, "6")], known, VOCABULARY) == "6 of 'person', 3 in the boxes"


def test_a_number_that_a_caption_gives_is_believed() -> None:
    context = Context(captions=("four cows graze",), things=boxes(cow=3))
    assert count_fault([("How many cows are there?", "4")], context, VOCABULARY) is None


def test_many_boxes_may_not_be_all() -> None:
    many = Context(things=boxes(book=8))
    assert count_fault([("How many books are there?", "20")], many, VOCABULARY) is None
    assert count_fault([("How many books are there?", "5")], many, VOCABULARY) is not None
