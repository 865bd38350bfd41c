"""Good dialogues, and the same ones spoilt: what the checks of dialogues are measured on.

Good ones are what people said of COCO images (../shared/data/instruction) and TextVQA's questions
with their answers (../shared/data/vqa). Of an image's five captions four are the context, and the
fifth is what is answered. Nothing here is shared with the checks: neither words nor rules.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.bench.phrases import HELD_OUT, TRIED_ON, Phrases
from schemas.context import Answered, Context, Thing
from schemas.dialogue import DialogueFault, Kind
from schemas.errors import BadInputError

SYMBOLS_FILE = Path("instruction/caps_boxes_coco2014_val_80.jsonl")
QUESTIONS_FILE = Path("vqa/textvqa_val_questions_vqa_format.json")
ANSWERS_FILE = Path("vqa/textvqa_val_annotations_vqa_format.json")
PHOTOS_FILE = Path("flickr8k/captions.jsonl")

Said = tuple[str, str]  # who speaks, Q or A, and what


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A dialogue and what is wrong with it: nothing, or one thing."""

    kind: Kind
    said: tuple[Said, ...]
    context: Context
    language: str = "en"
    wrong: DialogueFault | None = None
    images: int = 1  # how often <image> stands in it
    raw: str | None = None  # a reply as it came, where it is spoilt as such


Spoil = Callable[[Labelled, random.Random], Labelled | None]


def labelled_set(data: Path, seed: int, *, held_out: bool) -> list[Labelled]:
    """Every good dialogue, and once for each way to spoil one that applies to it.

    Args: held_out: with phrases on which the rules were not tried.

    Raises: BadInputError: the data are not there."""
    rng = random.Random(seed)
    foreign, phrases = _foreign(data), HELD_OUT if held_out else TRIED_ON
    good = [*_about_objects(data, rng), *_about_lettering(data, rng), *_look_alikes(phrases)]
    ways = {
        **_SPOILERS,
        DialogueFault.REFUSAL: partial(_decline, phrases=phrases.declining),
        DialogueFault.LEAKED_CONTEXT: partial(_betray, phrases=phrases.betraying),
        DialogueFault.OTHER_LANGUAGE: partial(_translate, foreign=foreign),
    }
    spoilt = [
        replace(found, wrong=reason)
        for one in good
        for reason, spoil in ways.items()
        if (found := spoil(one, rng)) is not None
    ]
    return [*good, *spoilt]


def _about_objects(data: Path, rng: random.Random) -> Iterator[Labelled]:
    for line in _read(data / SYMBOLS_FILE).splitlines():
        known = json.loads(line)
        things = [Thing(label=t["category"], box=t["bbox"]) for t in known["instances"]]
        *captions, answer = known["captions"][:5]
        context = Context(captions=tuple(captions), things=tuple(things))
        yield from _of_one_image(context, answer, rng)


def _of_one_image(context: Context, answer: str, rng: random.Random) -> Iterator[Labelled]:
    counts = Counter(thing.label for thing in context.things or ())
    talk = [("Q", "What is going on here?"), ("A", answer)]
    for label, count in list(counts.items())[:2]:
        talk += _about(label, count, rng)
    talk += [("Q", "Is there anything else worth noting?"), ("A", context.captions[0])]
    yield Labelled(kind=Kind.CONVERSATION, said=tuple(talk), context=context)
    tale = " ".join([answer, *context.captions[:3]])
    asked = "Tell me at length what can be seen."
    yield Labelled(kind=Kind.DETAIL, said=(("Q", asked), ("A", tale)), context=context)
    for label, count in counts.items():
        if 1 < count < 8:
            how_many = f"How many {_several(label)} are there?"
            said = rng.choice(
                [f"{count}", f"There are {_WORDS[count]}.", f"{_WORDS[count]} of them"]
            )
            yield Labelled(kind=Kind.COUNTING, said=(("Q", how_many), ("A", said)), context=context)
    absent = rng.choice(_absent(context))
    no = rng.choice([f"No, I see no {absent}.", "No.", f"No, I can't see any {absent} here."])
    yield _presence(absent, no, context, rng)
    if counts:
        there = rng.choice(sorted(counts))
        yield _presence(there, rng.choice(["Yes.", "Yes, it is.", "yes"]), context, rng)
        box = rng.choice([t for t in context.things or () if t.label == there]).box
        place = "[" + ", ".join(f"{share:.2f}" for share in box) + "]"
        asked = rng.choice(["What does {} hold?", "Name what lies within {}."]).format(place)
        yield Labelled(kind=Kind.REGION, said=(("Q", asked), ("A", f"A {there}.")), context=context)


def _presence(label: str, answer: str, context: Context, rng: random.Random) -> Labelled:
    asked = rng.choice(
        [
            f"Is a {label} in it?",
            f"Is there a {label} in this picture?",
            f"Can you see a {label} anywhere?",
            f"Does the photo show a {label}?",
        ]
    )
    return Labelled(kind=Kind.YES_NO, said=(("Q", asked), ("A", answer)), context=context)


def _about(label: str, count: int, rng: random.Random) -> list[Said]:
    question = f"And do you notice any {_several(label)}?"
    one = rng.choice([f"Yes, a {label} can be seen.", f"Indeed, one {label} is in view."])
    several = rng.choice(
        [f"Yes, there are some {_several(label)}.", f"Yes, more than one {label}."]
    )
    return [("Q", question), ("A", one if count == 1 else several)]


def _about_lettering(data: Path, rng: random.Random) -> Iterator[Labelled]:
    questions = json.loads(_read(data / QUESTIONS_FILE))["questions"]
    answers = json.loads(_read(data / ANSWERS_FILE))["annotations"]
    by_id: dict[Any, dict[str, Any]] = {each["question_id"]: each for each in answers}
    for asked in rng.sample(questions, 300):
        given = [one["answer"] for one in by_id[asked["question_id"]]["answers"]]
        best = Counter(given).most_common(1)[0][0]
        if best in ("unanswerable", "answering does not require reading text in the image"):
            continue
        answered = Answered(question=asked["question"], answers=tuple(given))
        yield Labelled(
            kind=Kind.OCR,
            said=(("Q", asked["question"]), ("A", best)),
            context=Context(answered=(answered,)),
        )


def _look_alikes(phrases: Phrases) -> Iterator[Labelled]:
    for text in phrases.look_alikes:
        said = (("Q", "What can you tell me about it?"), ("A", text))
        yield Labelled(kind=Kind.DETAIL, said=said, context=Context(captions=(text,)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as err:
        raise BadInputError(f"{path} cannot be read: {err.strerror or err}.") from err


# Ways to spoil a dialogue -------------------------------------------------------------------


def _drop_first(one: Labelled, rng: random.Random) -> Labelled:
    return replace(one, said=one.said[1:])


def _drop_last(one: Labelled, rng: random.Random) -> Labelled:
    return replace(one, said=one.said[:-1])


def _double_speaker(one: Labelled, rng: random.Random) -> Labelled:
    at = rng.randrange(len(one.said) - 1)
    (who, text), after = one.said[at], one.said[at + 1]
    half = (who, "Besides, let me add something to that.")
    return replace(one, said=(*one.said[:at], (who, text), half, after, *one.said[at + 2 :]))


def _miscount_images(one: Labelled, rng: random.Random) -> Labelled:
    return replace(one, images=rng.choice([0, 2, 3]))


def _silence(one: Labelled, rng: random.Random) -> Labelled:
    nothing = rng.choice(["", " ", "...", "-", "\n\n", "?!"])
    return _with_answer(one, rng, lambda _: nothing)


def _ramble(one: Labelled, rng: random.Random) -> Labelled:
    return _with_answer(one, rng, lambda text: f"{text} And so on and so forth. " * 150)


def _decline(one: Labelled, rng: random.Random, phrases: Sequence[str]) -> Labelled:
    words = rng.choice(phrases)
    return _with_answer(one, rng, lambda text: rng.choice([words, f"{words} {text}"]))


def _betray(one: Labelled, rng: random.Random, phrases: Sequence[str]) -> Labelled | None:
    if one.kind is Kind.REGION:  # where coordinates may be given
        return None
    words = rng.choice(phrases)
    return _with_answer(one, rng, lambda text: f"{words} {text[:1].lower()}{text[1:]}")


def _invent(one: Labelled, rng: random.Random) -> Labelled | None:
    if one.kind is Kind.YES_NO and one.said[1][1].startswith("No"):
        return replace(one, said=(one.said[0], ("A", rng.choice(["Yes.", "Yes, there is."]))))
    if one.context.things is None or one.kind in (Kind.COUNTING, Kind.YES_NO, Kind.REGION):
        return None
    thing = rng.choice(_absent(one.context))
    sentence = rng.choice(_INVENTING).format(thing=thing, things=_several(thing))
    return _with_answer(one, rng, lambda text: f"{text.rstrip('. ')}. {sentence}")


def _miscount(one: Labelled, rng: random.Random) -> Labelled | None:
    """Another number where one was asked for; more things than there are anywhere else."""
    counts = Counter(thing.label for thing in one.context.things or ())
    few = {label: count for label, count in counts.items() if 1 < count < 6}
    if one.kind is Kind.COUNTING:
        there = next(
            n for n in (7, 6, 5, 4, 3, 2) if str(n) in one.said[1][1] or _WORDS[n] in one.said[1][1]
        )
        other = rng.choice([n for n in (1, 2, 3, 4, 5, 6, 7, 9) if n != there])
        return replace(
            one, said=(one.said[0], ("A", rng.choice([f"{other}", f"There are {_WORDS[other]}."])))
        )
    if one.kind is Kind.YES_NO and not one.said[1][1].startswith("No"):
        return replace(one, said=(one.said[0], ("A", rng.choice(["No.", "No, there is none."]))))
    if one.kind is not Kind.DETAIL or not few:
        return None
    label = rng.choice(sorted(few))
    more = few[label] + rng.randint(1, 4)
    sentence = f"Altogether {_WORDS[more]} {_several(label)} can be made out."
    return _with_answer(one, rng, lambda text: f"{text} {sentence}")


def _misplace(one: Labelled, rng: random.Random) -> Labelled | None:
    """Numbers that somebody made up."""
    if one.kind is not Kind.REGION:
        return None
    corners = sorted(rng.random() for _ in range(2)), sorted(rng.random() for _ in range(2))
    (left, right), (top, bottom) = corners
    place = "[" + ", ".join(f"{share:.2f}" for share in (left, top, right, bottom)) + "]"
    return replace(one, said=(("Q", f"What does {place} hold?"), one.said[1]))


def _translate(one: Labelled, rng: random.Random, foreign: Sequence[str]) -> Labelled | None:
    if one.kind not in (Kind.CONVERSATION, Kind.DETAIL):
        return None
    return _with_answer(one, rng, lambda _: rng.choice(foreign))


def _ask_again(one: Labelled, rng: random.Random) -> Labelled | None:
    if one.kind is not Kind.CONVERSATION:
        return None
    asked = rng.choice([text for who, text in one.said if who == "Q"])
    again = rng.choice(
        [asked, asked.upper(), asked.rstrip("?") + " ?", f"So, {asked[:1].lower()}{asked[1:]}"]
    )
    return replace(one, said=(*one.said, ("Q", again), ("A", "As before, nothing new to tell.")))


def _garble(one: Labelled, rng: random.Random) -> Labelled | None:
    if one.kind is not Kind.CONVERSATION:
        return None
    turns = [text for _, text in one.said]
    forms = [
        "\n".join(turns),
        json.dumps([{"q": q, "a": a} for q, a in zip(turns[::2], turns[1::2], strict=True)]),
        "Sure! Here is a conversation about it.\n\n" + "\n\n".join(f"- {text}" for text in turns),
        "\n".join(
            f"User: {q}\nAssistant: {a}" for q, a in zip(turns[::2], turns[1::2], strict=True)
        ),
        "",
    ]
    return replace(one, raw=rng.choice(forms))


def _with_answer(one: Labelled, rng: random.Random, change: Callable[[str], str]) -> Labelled:
    """The same with one of its answers changed."""
    at = rng.choice([n for n, (who, _) in enumerate(one.said) if who == "A"])
    said = list(one.said)
    said[at] = ("A", change(said[at][1]))
    return replace(one, said=tuple(said))


_SPOILERS: dict[DialogueFault, Spoil] = {
    DialogueFault.UNPARSABLE: _garble,
    DialogueFault.WRONG_ROLES: _double_speaker,
    DialogueFault.STARTS_WITH_MODEL: _drop_first,
    DialogueFault.ENDS_WITH_PERSON: _drop_last,
    DialogueFault.IMAGE_COUNT: _miscount_images,
    DialogueFault.EMPTY_TURN: _silence,
    DialogueFault.LONG_TURN: _ramble,
    DialogueFault.UNKNOWN_OBJECT: _invent,
    DialogueFault.WRONG_COUNT: _miscount,
    DialogueFault.WRONG_BOX: _misplace,
    DialogueFault.REPEATED_QUESTION: _ask_again,
}

_WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


_INVENTING = (
    "Next to it stands a {thing}.",
    "A {thing} is visible in the background.",
    "There are also two {things} nearby.",
    "In one corner you can make out a {thing}.",
    "Several {things} complete the scene.",
    "It seems to be accompanied by a small {thing}.",
)

# Things that a picture of COCO may show, each with words that would mean it is there already.
_THINGS = {
    "giraffe": ("giraffe",),
    "zebra": ("zebra",),
    "elephant": ("elephant",),
    "bear": ("bear",),
    "horse": ("horse", "pony"),
    "cow": ("cow", "cattle", "bull", "calf"),
    "sheep": ("sheep", "lamb"),
    "cat": ("cat", "kitten", "kitty"),
    "dog": ("dog", "puppy"),
    "airplane": ("plane", "jet", "aircraft"),
    "train": ("train", "locomotive", "tram"),
    "boat": ("boat", "ship", "canoe", "kayak"),
    "bus": ("bus",),
    "truck": ("truck", "pickup", "van"),
    "motorcycle": ("motorcycle", "motorbike", "bike", "scooter"),
    "bicycle": ("bicycle", "bike", "cycl"),
    "umbrella": ("umbrella", "parasol"),
    "kite": ("kite",),
    "surfboard": ("surf", "board"),
    "skateboard": ("skate", "board"),
    "snowboard": ("snowboard", "board"),
    "pizza": ("pizza",),
    "banana": ("banana",),
    "cake": ("cake",),
    "sandwich": ("sandwich", "burger"),
    "laptop": ("laptop", "computer"),
    "couch": ("couch", "sofa"),
    "toilet": ("toilet", "urinal"),
    "refrigerator": ("fridge", "refrigerator"),
    "microwave": ("microwave",),
    "fire hydrant": ("hydrant",),
    "stop sign": ("stop",),
    "traffic light": ("light",),
    "teddy bear": ("bear", "stuffed"),
    "vase": ("vase", "flower"),
    "toothbrush": ("brush",),
}


def _absent(context: Context) -> list[str]:
    """Of these things the ones that neither a box nor a caption so much as hints at."""
    told = " ".join([*context.captions, *(thing.label for thing in context.things or ())]).lower()
    return [thing for thing, hints in _THINGS.items() if not any(hint in told for hint in hints)]


def _several(thing: str) -> str:
    endings = {"sheep": "sheep", "person": "people", "knife": "knives", "skis": "skis"}
    if thing in endings:
        return endings[thing]
    if thing.endswith(("s", "ch", "sh")):
        return f"{thing}es" if thing != "scissors" else thing
    return f"{thing}s"


def _foreign(data: Path) -> list[str]:
    """What people wrote of photographs in German, French, Czech and Chinese."""
    lines = [json.loads(line) for line in _read(data / PHOTOS_FILE).splitlines()[:400]]
    several = [line["multi30k"] for line in lines if line.get("multi30k")]
    others = [one[code] for one in several for code in ("de", "fr", "cs") if one.get(code)]
    return [*others, *(text for line in lines[:100] for text in line["captions_zh"][:1])]
