import pytest

from transforms.instruct.checks.questions import Earlier


def repeats(first: str, second: str) -> bool:
    return Earlier().repeated([first, second]) is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is the man doing?", "what is the man doing"),
        ("What is the man doing?", "So, what is this man doing here?"),
        ("Where is it?", "where is it ?"),
        ("这个男人在做什么？", "这个男人在做什么呢？"),
        ("Is it?", "is it"),
    ],
)
def test_nearly_the_same(first: str, second: str) -> None:
    assert repeats(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Is there a dog in the image?", "Is there a cat in the image?"),
        ("What is the man doing?", "Who is the man?"),
        ("How many dogs are there?", "What dogs are there?"),
        ("What does person one hold?", "What does person two hold?"),
        ("这个男人在做什么？", "这个女人穿着什么？"),
    ],
)
def test_other_questions(first: str, second: str) -> None:
    assert not repeats(first, second)


def test_earlier_questions_are_remembered() -> None:
    earlier = Earlier()
    assert earlier.repeated(["What is it?"]) is None
    earlier.add(["What is it?"])
    assert earlier.repeated(["what is it"]) == "'what is it' is nearly 'What is it?'"
