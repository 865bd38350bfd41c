import pytest

from schemas.dialogue import Role, Turn
from transforms.instruct.parse import ParseError, parse_answer, parse_blocks, spoken

BLOCKS = (
    "Question:\nWhat runs?\n===\nAnswer:\nA dog.\nIt is fast."
    "\n===\nQuestion:\nWhere?\n===\nAnswer:\nIn a park."
)


def said(reply: str) -> list[tuple[Role, str]]:
    return [(turn.role, spoken(turn)) for turn in parse_blocks(reply)]


def test_blocks_become_turns() -> None:
    assert said(BLOCKS) == [
        (Role.PERSON, "What runs?"),
        (Role.MODEL, "A dog.\nIt is fast."),
        (Role.PERSON, "Where?"),
        (Role.MODEL, "In a park."),
    ]
    assert parse_blocks(BLOCKS)[0].text == "<image>\nWhat runs?"


@pytest.mark.parametrize(
    "reply",
    [
        BLOCKS.replace("===", "====="),
        f"```\n{BLOCKS}\n```",
        f"```text\n{BLOCKS}\n```\n",
        f"\n===\n{BLOCKS}\n===\n",
        BLOCKS.replace("===\n", ""),
        BLOCKS.replace("Question:\n", "Question: ").replace("Answer:\n", "Answer: "),
    ],
)
def test_what_models_do_to_the_form_is_forgiven(reply: str) -> None:
    assert said(reply) == said(BLOCKS)


def test_chinese_heads() -> None:
    reply = "问题：\n什么在跑？\n===\n回答：\n一只狗。"
    assert said(reply) == [(Role.PERSON, "什么在跑？"), (Role.MODEL, "一只狗。")]


@pytest.mark.parametrize(
    "reply", ["", "===", "Sure! Here you are.\n===\nQuestion:\nWhat?", "What?"]
)
def test_another_form_is_refused(reply: str) -> None:
    with pytest.raises(ParseError):
        parse_blocks(reply)


def test_an_answer_goes_with_the_question_that_was_asked() -> None:
    assert parse_answer(" A dog. ", "What runs?") == (
        Turn(role=Role.PERSON, text="<image>\nWhat runs?"),
        Turn(role=Role.MODEL, text="A dog."),
    )


def test_thinking_is_no_part_of_a_reply() -> None:
    said = "<think>\nQuestion: or not?\n</think>\n\nQuestion:\nWhat?\n===\nAnswer:\nA dog."
    assert [spoken(turn) for turn in parse_blocks(said)] == ["What?", "A dog."]
    assert spoken(parse_answer("<think>Well.</think>A dog.", "What?")[1]) == "A dog."
    with pytest.raises(ParseError, match="a thought without an end"):
        parse_answer("<think>Well, it may be a dog, or", "What?")


def test_thousands_of_heads_are_read_in_time() -> None:
    assert len(parse_blocks("Answer:\n" * 20_000)) == 20_000
