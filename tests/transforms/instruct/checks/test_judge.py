import pytest

from schemas.context import Context
from schemas.dialogue import DialogueFault, Kind
from tests.transforms.instruct.talk import boxes, dialogue, judged

GOOD = (("Q", "What does the dog do?"), ("A", "It runs across a field."))
ONE_DOG = Context(captions=("a dog runs",), things=boxes(dog=1))


def test_a_good_dialogue_is_kept() -> None:
    more = (("Q", "What is the weather like?"), ("A", "It looks sunny and warm."))
    assert judged(dialogue(*GOOD, *more), context=ONE_DOG) == [None]


@pytest.mark.parametrize(
    ("said", "reason", "detail"),
    [
        ((), DialogueFault.STARTS_WITH_MODEL, "the model speaks first"),
        ((("A", "It runs."),), DialogueFault.STARTS_WITH_MODEL, "the model speaks first"),
        ((*GOOD, ("A", "Fast.")), DialogueFault.WRONG_ROLES, "turns 2 and 3 are both by the model"),
        ((*GOOD, ("Q", "Why?")), DialogueFault.ENDS_WITH_PERSON, "nobody answers the last turn"),
        ((GOOD[0], ("A", " ... ")), DialogueFault.EMPTY_TURN, "turn 2 says nothing"),
        ((("Q", ""), GOOD[1]), DialogueFault.EMPTY_TURN, "turn 1 says nothing"),
        (
            (GOOD[0], ("A", "x" * 4001)),
            DialogueFault.LONG_TURN,
            "turn 2 has 4001 characters, at most 4000",
        ),
        ((GOOD[0], ("A", "I'm sorry, I can't say.")), DialogueFault.REFUSAL, '"I\'m sorry"'),
        ((GOOD[0], ("A", "The caption says it runs.")), DialogueFault.LEAKED_CONTEXT, "'caption'"),
        (
            (GOOD[0], ("A", "Der Hund läuft schnell über die grüne Wiese.")),
            DialogueFault.OTHER_LANGUAGE,
            "de",
        ),
        (
            (GOOD[0], ("A", "It chases a zebra.")),
            DialogueFault.UNKNOWN_OBJECT,
            "'zebra' is neither in the boxes nor in the captions",
        ),
        (
            (("Q", "How many dogs are there?"), ("A", "Three.")),
            DialogueFault.WRONG_COUNT,
            "3 of 'dog', 1 in the boxes",
        ),
        (
            (*GOOD, ("Q", "so what does the dog do"), ("A", "It goes on.")),
            DialogueFault.REPEATED_QUESTION,
            "'so what does the dog do' is nearly 'What does the dog do?'",
        ),
    ],
)
def test_each_fault_has_its_reason(
    said: tuple[tuple[str, str], ...], reason: DialogueFault, detail: str
) -> None:
    (fault,) = judged(dialogue(*said), context=ONE_DOG)
    assert fault is not None
    assert (fault.reason, fault.detail) == (reason, detail)


@pytest.mark.parametrize(("image", "count"), [("", 0), ("<image><image>\n", 2)])
def test_a_dialogue_has_as_many_image_tokens_as_images(image: str, count: int) -> None:
    (fault,) = judged(dialogue(*GOOD, image=image))
    assert fault is not None
    assert (fault.reason, fault.detail) == (
        DialogueFault.IMAGE_COUNT,
        f"{count} <image>, 1 images",
    )


@pytest.mark.parametrize(("length", "kept"), [(200, True), (201, False)])
def test_a_short_answer_is_short(length: int, kept: bool) -> None:
    (fault,) = judged(dialogue(GOOD[0], ("A", "b" * length), kind=Kind.SHORT_ANSWER))
    assert (fault is None) is kept


def test_a_question_long_enough_for_a_talk_may_precede_a_short_answer() -> None:
    asked = dialogue(("Q", f"{'so ' * 80}where is it?"), ("A", "there"), kind=Kind.SHORT_ANSWER)
    assert judged(asked) == [None]


def test_a_question_of_an_earlier_dialogue_is_repeated_only_if_that_is_kept() -> None:
    first, again = dialogue(*GOOD), dialogue(GOOD[0], ("A", "It leaps."))
    spoilt = dialogue(GOOD[0], ("A", "I cannot see it."))
    assert [fault and fault.reason for fault in judged(first, again)] == [
        None,
        DialogueFault.REPEATED_QUESTION,
    ]
    assert judged(spoilt, again)[1] is None


def test_where_the_model_asks_its_questions_are_compared() -> None:
    asked = ("Q", "Ask something about this picture.")
    one = dialogue(asked, ("A", "What colour is the dog?"), kind=Kind.QUESTION)
    other = dialogue(asked, ("A", "Where does the dog run to?"), kind=Kind.QUESTION)
    assert judged(one, other) == [None, None]
    assert judged(one, one)[1] is not None


def test_places_may_be_told_where_regions_are_asked_for() -> None:
    said = (("Q", "What is at [0.1, 0.2, 0.3, 0.4]?"), ("A", "a dog"))
    assert judged(dialogue(*said, kind=Kind.REGION)) == [None]
    (fault,) = judged(dialogue(*said))
    assert fault is not None
    assert fault.reason is DialogueFault.LEAKED_CONTEXT


def test_chinese_is_kept_as_chinese() -> None:
    said = (("Q", "这只狗在做什么？"), ("A", "它在草地上奔跑。"))
    assert judged(dialogue(*said, language="zh")) == [None]
    (fault,) = judged(dialogue(*said))
    assert fault is not None
    assert (fault.reason, fault.detail) == (DialogueFault.OTHER_LANGUAGE, "Chinese")
    (fault,) = judged(dialogue(said[0], ("A", "It runs across the grass."), language="zh"))
    assert fault is not None
    assert fault.reason is DialogueFault.OTHER_LANGUAGE
