import pytest

from schemas.context import Answered, Context, Thing
from tests.transforms.instruct.talk import boxes
from transforms.instruct.checks.grounding import box_fault, count_fault, object_fault
from transforms.instruct.names.vocabulary import Vocabulary

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
    told = object_fault([("", answer)], STREET, VOCABULARY)
    assert told == (unknown and f"{unknown!r} is neither in the boxes nor in the captions")


def test_without_boxes_nothing_is_unknown() -> None:
    assert object_fault([("", "A zebra.")], Context(captions=("a man",)), VOCABULARY) is None
    assert object_fault([("", "A zebra.")], Context(captions=("a man",), things=()), VOCABULARY)


def test_a_word_of_several_meanings_needs_one_of_them() -> None:
    context = Context(things=boxes(suitcase=1))
    assert object_fault([("", "A bag.")], context, VOCABULARY) is None
    assert object_fault([("", "A backpack.")], context, VOCABULARY) is not None


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


@pytest.mark.parametrize(
    ("question", "answer", "unknown"),
    [
        ("Is there a zebra in the picture?", "yes", "zebra"),
        ("Is there a zebra in the picture?", "no", None),
        ("Are there any cars?", "Yes.", None),
        ("Do you see a bus?", "Yes, I do.", "bus"),
        ("What is the zebra doing?", "It grazes.", "zebra"),
        ("What is the zebra doing?", "There is no zebra.", None),
        ("Why does the man walk past the cars?", "He is in a hurry.", None),
        ("Could this be a place for a horse?", "Yes, perhaps.", None),  # asks for no thing
        ("图中有斑马吗？", "有", "斑马"),
        ("图中有斑马吗？", "没有", None),
        ("斑马在做什么？", "在吃草。", "斑马"),
    ],
)
def test_what_a_question_names_is_held_too(question: str, answer: str, unknown: str | None) -> None:
    told = object_fault([(question, answer)], STREET, VOCABULARY)
    assert told == (unknown and f"{unknown!r} is neither in the boxes nor in the captions")


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        ("Is there a car in the image?", "no", "none of 'car', 3 in the boxes"),
        ("Is there a car?", "yes", None),
        ("Is there a pink car?", "No.", None),  # the boxes do not know
        ("Can you see any people in this picture?", "No.", "none of 'person', 2 in the boxes"),
        ("How many cars are there?", "None.", "0 of 'car', 3 in the boxes"),
        ("How many zebras are there?", "None.", None),
        ("图中有汽车吗？", "没有", "none of '汽车', 3 in the boxes"),
        ("照片里有没有汽车？", "有", None),
    ],
)
def test_what_is_denied_is_not_in_the_boxes(question: str, answer: str, told: str | None) -> None:
    assert count_fault([(question, answer)], STREET, VOCABULARY) == told


def test_what_people_answered_and_what_is_written_is_known() -> None:
    asked = Answered(question="what is the cat doing?", answers=("sleeping",))
    context = Context(things=boxes(person=1), answered=(asked,), lettering=("BUS", "STOP"))
    assert object_fault([("", "A cat waits for the bus.")], context, VOCABULARY) is None


def test_coordinates_are_those_of_a_box() -> None:
    context = Context(things=(Thing(label="dog", box=(0.1, 0.25, 0.5, 1.0)),))
    assert box_fault(["What is in [0.100, 0.250, 0.500, 1.000]?", "A dog."], context) is None
    assert box_fault(["What is in (0.1, .25, 0.5, 1)?"], context) is None
    assert box_fault(["What is in [0.1, 0.25, 0.6, 1.0]?"], context) == (
        "[0.1, 0.25, 0.6, 1.0] is no box"
    )
    assert box_fault(["In [x1, y1, x2, y2]?", "[1, 2]"], context) is None
    assert box_fault(["[0.1, 0.25, 0.6, 1.0]"], Context()) is None


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
