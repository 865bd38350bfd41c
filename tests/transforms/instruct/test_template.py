import pytest

from schemas.context import Answered, Context, Thing
from schemas.dialogue import IMAGE_TOKEN, Kind, Language, Role
from tests.transforms.instruct.talk import boxes, dialogue, judged
from transforms.instruct.annotations import Annotations
from transforms.instruct.names.chinese import _names, name_in_chinese
from transforms.instruct.parse import spoken
from transforms.instruct.template import KINDS, Material, _templates, make_turns, possible

EVERYWHERE = [Context(things=boxes(dog=1, cat=1)), Context(things=boxes(bench=1, dog=1))]
RICH = Context(
    captions=("two dogs and a red ball", "Dogs play ."),
    things=(*boxes(dog=2), Thing(label="sports ball", box=(0.25, 0.5, 0.3, 1.0))),
    answered=(Answered(question="what do they chase?", answers=("ball", "a ball", "ball")),),
)


def material(context: Context, language: Language = "en") -> Material:
    everywhere = Annotations({str(n): one for n, one in enumerate([*EVERYWHERE, context])})
    return Material(context, language, everywhere, "popular")


def made(kind: Kind, context: Context, language: Language = "en") -> set[tuple[str, ...]]:
    """All that 60 seeds give, without the image."""
    found: set[tuple[str, ...]] = set()
    for seed in range(60):
        turns = make_turns(kind, material(context, language), str(seed))
        assert turns is not None
        assert turns[0].text.startswith(f"{IMAGE_TOKEN}\n")
        found.add(tuple(spoken(turn) for turn in turns))
    return found


def answers(kind: Kind, context: Context) -> set[str]:
    return {talk[1] for talk in made(kind, context)}


def test_people_answer_where_they_were_asked() -> None:
    talks = made(Kind.SHORT_ANSWER, RICH)
    assert {answer for _, answer in talks} == {"ball"}  # what most of them said
    assert all("hat do they chase?" in question for question, _ in talks)
    assert len(talks) == len(_templates()["en"]["short"])


def test_without_them_captions_say_a_colour_or_all_they_say() -> None:
    told = answers(Kind.SHORT_ANSWER, Context(captions=RICH.captions))
    assert told == {"red", "Two dogs and a red ball.", "Dogs play."}


def test_a_thing_is_there_or_not_half_of_the_time() -> None:
    talks = made(Kind.YES_NO, RICH)
    for question, answer in talks:
        there = any(name in question for name in ("dog", "sports ball"))
        assert (answer == "yes") is there, question
        assert there or any(name in question for name in ("cat", "bench"))
    assert (
        15
        < sum(
            make_turns(Kind.YES_NO, material(RICH), str(n))[1].text == "yes"  # pyright: ignore
            for n in range(60)
        )
        < 45
    )


def test_what_a_caption_names_is_never_asked_for_in_vain() -> None:
    context = Context(captions=("a cat sits near",), things=boxes(dog=1))
    asked = {question for question, answer in made(Kind.YES_NO, context) if answer == "no"}
    assert asked
    assert not [question for question in asked if "cat" in question]


def test_boxes_are_counted_and_without_them_captions_count() -> None:
    assert answers(Kind.COUNTING, RICH) == {"2", "1"}
    assert answers(Kind.COUNTING, Context(captions=RICH.captions)) == {"2"}
    disagreeing = Context(captions=("two dogs", "three dogs"))
    assert make_turns(Kind.COUNTING, material(disagreeing), "0") is None
    assert make_turns(Kind.COUNTING, material(Context(things=boxes(dog=8))), "0") is None


def test_regions_are_named_and_only_what_is_alone_is_looked_for() -> None:
    talks = made(Kind.REGION, RICH)
    assert {answer for _, answer in talks} == {"dog", "sports ball", "[0.250, 0.500, 0.300, 1.000]"}
    for question, answer in talks:
        if answer.startswith("["):
            assert "sports ball" in question


def test_the_model_asks_what_has_an_answer() -> None:
    talks = made(Kind.QUESTION, RICH)
    said = {question for _, question in talks}
    assert said == {"What do they chase?", "How many dogs are there?"}  # one ball is no riddle
    for request, question in talks:
        if "nswer is: " in request and "dogs" in question:
            assert "2" in request or "two" in request


def test_a_conversation_joins_several_and_repeats_none() -> None:
    for talk in made(Kind.CONVERSATION, RICH):
        assert len(talk) in (4, 6, 8)
        assert talk[1] == "Two dogs and a red ball."
        said = [("QA"[n % 2], text) for n, text in enumerate(talk)]
        assert judged(dialogue(*said), context=RICH) == [None]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_known_is_not_made(kind: Kind) -> None:
    assert make_turns(kind, material(Context()), "0") is None


def test_what_can_be_made_depends_on_what_is_material() -> None:
    assert possible(material(RICH)) == set(KINDS)
    assert possible(material(Context(captions=("a day at the sea",)))) == {Kind.SHORT_ANSWER}
    no_boxes = Context(captions=("two dogs and a red ball",))
    assert possible(material(no_boxes)) == set(KINDS) - {Kind.YES_NO, Kind.REGION}


def test_chinese_is_told_in_chinese() -> None:
    context = Context(captions=("a dog runs over the wide field", "一只狗在草地上奔跑"))
    ((question, answer), *_) = made(Kind.SHORT_ANSWER, context, "zh")
    assert answer == "一只狗在草地上奔跑。"
    assert judged(dialogue(("Q", question), ("A", answer), language="zh")) == [None]
    assert make_turns(Kind.SHORT_ANSWER, material(Context(captions=("a dog",))), "0")


def test_the_same_seed_gives_the_same() -> None:
    for kind in KINDS:
        one, other = (make_turns(kind, material(RICH), "5") for _ in range(2))
        assert one == other
        assert one is not None
        assert [turn.role for turn in one[:2]] == [Role.PERSON, Role.MODEL]


def test_each_number_takes_another_fact_and_then_none() -> None:
    asked = [Answered(question=f"what is thing {n}?", answers=(f"a {n}",)) for n in range(4)]
    context = Context(answered=tuple(asked))
    made = [make_turns(Kind.SHORT_ANSWER, material(context), "0", n) for n in range(5)]
    answers = [turns[1].text for turns in made if turns is not None]
    assert sorted(answers) == ["a 0", "a 1", "a 2", "a 3"]
    assert made[4] is None


def test_what_is_not_the_only_one_has_no_colour() -> None:
    captions = ("A black dog and a spotted dog fight near a red car.",)
    assert answers(Kind.SHORT_ANSWER, Context(captions=captions)) == {
        "red",
        "A black dog and a spotted dog fight near a red car.",
    }


def test_a_talk_has_sentences_and_each_thing_once() -> None:
    context = Context(captions=("two dogs",), things=boxes(dog=2))
    talks = made(Kind.CONVERSATION, context)
    assert all(text.endswith(".") for talk in talks for text in talk[1::2])
    assert not [talk for talk in talks if sum("dog" in text for text in talk[::2]) > 1]


def test_captions_in_capitals_and_with_spaces_are_tidied() -> None:
    context = Context(captions=("A BOY  WITH A KITE",))
    assert answers(Kind.SHORT_ANSWER, context) == {"A boy with a kite."}


def test_every_category_has_a_name_of_its_own_in_chinese() -> None:
    names = [name_in_chinese(category) for category in {c for n in _names().values() for c in n}]
    assert None not in names
    assert len(set(names)) == len(names)


def test_every_language_has_every_family_but_colours() -> None:
    families = {language: set(found) for language, found in _templates().items()}
    assert families["en"] - families["zh"] == {"colour"}
    assert families["zh"] < families["en"]


@pytest.mark.parametrize("kind", KINDS)
def test_dialogues_in_chinese_pass_the_checks(kind: Kind) -> None:
    context = Context(
        captions=("两只狗在草地上玩一个红色的球。", "two dogs and a red ball"),
        things=(*boxes(dog=2), Thing(label="自行车", box=(0.25, 0.5, 0.3, 1.0))),
        answered=(Answered(question="狗在做什么？", answers=("玩球",)),),
    )
    for seed in range(40):
        turns = make_turns(kind, material(context, "zh"), str(seed))
        assert turns is not None
        for turn in turns:
            assert not any(char.isascii() and char.isalpha() for char in _worded(turn.text)), turn
        made = dialogue(kind=kind, language="zh").model_copy(update={"turns": turns})
        assert judged(made, context=context) == [None]


def _worded(text: str) -> str:
    return text.replace(IMAGE_TOKEN, "").replace("[x1, y1, x2, y2]", "")


def test_a_label_without_a_name_in_the_language_is_not_spoken_of() -> None:
    context = Context(things=boxes(gadget=1))
    assert make_turns(Kind.COUNTING, material(context), "0") is not None
    assert make_turns(Kind.COUNTING, material(context, "zh"), "0") is None
