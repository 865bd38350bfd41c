"""Dialogues for tests, written as (who, text)."""

from schemas.context import Context, Thing
from schemas.dialogue import Dialogue, Kind, Language, Making, Role, Turn
from transforms.instruct.checks.judge import CheckPolicy, Fault, Known, judge
from transforms.instruct.names.vocabulary import Vocabulary

ROLES = {"Q": Role.PERSON, "A": Role.MODEL}
MADE = Making(backend="template", model="", source="symbolic", prompt="", prompt_sha256="")
BOX = (0.1, 0.1, 0.5, 0.5)


def dialogue(
    *said: tuple[str, str],
    kind: Kind = Kind.CONVERSATION,
    language: Language = "en",
    image: str = "<image>\n",
) -> Dialogue:
    turns = [Turn(role=ROLES[who], text=text) for who, text in said]
    if turns:
        turns[0] = turns[0].model_copy(update={"text": image + turns[0].text})
    return Dialogue(
        uid="a" * 32,
        kind=kind,
        number=0,
        language=language,
        images=1,
        turns=tuple(turns),
        made=MADE,
    )


def boxes(**counts: int) -> tuple[Thing, ...]:
    labels = [label.replace("_", " ") for label, count in counts.items() for _ in range(count)]
    return tuple(Thing(label=label, box=BOX) for label in labels)


def judged(*dialogues: Dialogue, context: Context | None = None) -> list[Fault | None]:
    known = Known(context or Context(captions=("a dog runs",)), Vocabulary(), CheckPolicy())
    return judge(dialogues, known)
