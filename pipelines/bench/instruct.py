"""How good the checks of dialogues are, what rules give, and how fast a server is asked:
`make bench-instruct`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipelines.bench.contest import at_least
from pipelines.bench.instruct_share import share_marks
from pipelines.bench.instruct_speed import speed_marks
from pipelines.bench.machine import Mark, print_marks
from pipelines.bench.spoilt import Labelled, labelled_set
from schemas.dialogue import IMAGE_TOKEN, Dialogue, DialogueFault, Making, Role, Turn
from transforms.instruct.checks.judge import CheckPolicy, Known, judge
from transforms.instruct.names.vocabulary import Vocabulary
from transforms.instruct.parse import ParseError, parse_blocks

PRECISION, RECALL = 0.95, 0.85  # marks
# Faults of the request; no reply has them.
OF_REQUESTS = {DialogueFault.NO_REPLY, DialogueFault.REFUSED, DialogueFault.OVER_BUDGET}
_MADE = Making(backend="people", model="", source="symbolic", prompt="", prompt_sha256="")


def main(
    data: Annotated[Path, typer.Option(help="Folder with instruction, vqa and flickr8k.")] = Path(
        "../shared/data"
    ),
    seed: int = 0,
    held_out: Annotated[
        bool, typer.Option(help="Phrases on which the rules were not tried; else those.")
    ] = True,
    speed: Annotated[bool, typer.Option(help="Measure speed, too.")] = True,
) -> None:
    """Precision and recall of every reason; what share of images rules make one of; speed."""
    labelled = labelled_set(data, seed, held_out=held_out)
    found = [_found(one) for one in labelled]
    marks = [*_of_each(labelled, found), *_overall(labelled, found), *share_marks(data)]
    print_marks("instruct", [*marks, *(speed_marks() if speed else [])])


def _found(one: Labelled) -> DialogueFault | None:
    """What the checks say of a dialogue."""
    if one.raw is not None:
        try:
            parse_blocks(one.raw)
        except ParseError:
            return DialogueFault.UNPARSABLE
        return None
    known = Known(one.context, Vocabulary(), CheckPolicy())
    (fault,) = judge([_dialogue(one)], known)
    return None if fault is None else fault.reason


def _dialogue(one: Labelled) -> Dialogue:
    roles = {"Q": Role.PERSON, "A": Role.MODEL}
    turns = [Turn(role=roles[who], text=text) for who, text in one.said]
    marks = "".join(f"{IMAGE_TOKEN}\n" for _ in range(one.images))
    first = turns[0].model_copy(update={"text": marks + turns[0].text})
    return Dialogue(
        uid="0" * 32,
        kind=one.kind,
        number=0,
        language="en",
        images=1,
        turns=(first, *turns[1:]),
        made=_MADE,
    )


def _of_each(labelled: Sequence[Labelled], found: Sequence[DialogueFault | None]) -> list[Mark]:
    marks: list[Mark] = []
    for reason in DialogueFault:
        if reason in OF_REQUESTS:
            continue
        wrong = [one.wrong is reason for one in labelled]
        said = [one is reason for one in found]
        both = sum(w and s for w, s in zip(wrong, said, strict=True))
        precision, recall = both / max(1, sum(said)), both / max(1, sum(wrong))
        marks += [
            at_least(f"{reason} precision", precision, PRECISION),
            at_least(f"{reason} recall of {sum(wrong)}", recall, RECALL),
        ]
    return marks


def _overall(labelled: Sequence[Labelled], found: Sequence[DialogueFault | None]) -> list[Mark]:
    good = [one for label, one in zip(labelled, found, strict=True) if label.wrong is None]
    kept = sum(one is None for one in good) / len(good)
    return [at_least(f"good kept of {len(good)}", kept)]


if __name__ == "__main__":
    typer.run(main)
