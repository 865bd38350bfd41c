import pytest

from transforms.instruct.checks.speech import language_fault, leak, refusal


@pytest.mark.parametrize(
    "text",
    [
        "I’m sorry, but no.",
        "I apologise for that.",
        "As a language model I have no eyes.",
        "I cannot clearly see it.",
        "I don't have access to it.",
        "Sorry, but I must stop.",
        "抱歉，看不清。",
        "我无法查看图片。",
        "It is not possible to determine this from the image.",
        "I don't see an image attached.",
        "Please upload the image again.",
        "I cannot see the picture you sent.",
        "Unable to determine.",
        "无法判断。",
    ],
)
def test_refusals_and_apologies(text: str) -> None:
    assert refusal(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        'The sign says "Sorry, I am closed".',
        "“I am sorry” stands on the card.",
        "A man says sorry to his dog.",
        "I can see it.",
        "No, I cannot see a cat.",
        "I can't see any dogs here.",
        "She cannot see the ball.",
        "他无法看清。",
    ],
)
def test_what_only_looks_like_a_refusal(text: str) -> None:
    assert refusal(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "The captions tell of it.",
        "its bounding box is small",
        "According to the description, he runs.",
        "in the provided text",
        "It is at 0.25, 0.5.",
        "at [.1 .2 .3 .4]",
        "根据描述，他在跑。",
        "标题说他在跑。",
        "方框里有一只狗。",
        "It lies at [120, 45, 300, 200].",
        "at (120, 45)",
        "where x = 0.25",
    ],
)
def test_the_context_leaks(text: str) -> None:
    assert leak(text, numbers=True) is not None


@pytest.mark.parametrize(
    "text",
    [
        "It costs 0.5 dollars.",
        "version 1.2.3",
        "a captain",
        "a description of the sea",
        "at 10.5, 20.7",
        "in the years (1, 2)",
        "a grid of 3, 4 and 5",
    ],
)
def test_what_only_looks_like_a_leak(text: str) -> None:
    assert leak(text, numbers=True) is None


def test_coordinates_may_be_allowed() -> None:
    assert leak("at 0.25, 0.5", numbers=False) is None
    assert leak("the caption", numbers=False) is not None


@pytest.mark.parametrize(
    ("text", "wanted", "fault"),
    [
        ("A man walks over the bridge.", "en", None),
        ("Un homme marche sur le pont avec son chien.", "en", "fr"),
        ("Bon appetit", "en", None),  # too short to tell
        ("一个人走过桥。", "en", "Chinese"),
        ("The sign says 出口 in red letters.", "en", None),
        ("一个人走过桥。", "zh", None),
        ("A man walks over the bridge.", "zh", "hardly a Chinese character"),
        ("Coca-Cola", "zh", None),
        ("A brown dog.", "zh", "hardly a Chinese character"),
        ("これは犬です。", "zh", "Japanese"),
        ("Собака бежит", "en", "another script"),
    ],
)
def test_language(text: str, wanted: str, fault: str | None) -> None:
    assert language_fault(text, wanted) == fault  # pyright: ignore[reportArgumentType]
