"""Dialogues as trainers read them. Each writer's records obey the rules of its readers.

Images are named as shards name them: KEY.jpg or KEY.png, where KEY is the dialogue's id.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from schemas.dialogue import IMAGE_TOKEN, Dialogue, Role, Turn

Record = dict[str, Any]
Shown = tuple[Dialogue, str | None]  # and the name of its image; None: text only

_LLAVA = {Role.PERSON: "human", Role.MODEL: "gpt"}
_OPENAI = {Role.PERSON: "user", Role.MODEL: "assistant"}


def as_llava(dialogue: Dialogue, image: str | None) -> Iterator[Record]:
    """{id, image?, conversations: [{from: human or gpt, value}]} (LLaVA's data format)."""
    talk = [{"from": _LLAVA[turn.role], "value": turn.text} for turn in dialogue.turns]
    yield _with_image({"id": dialogue.id}, "image", image) | {"conversations": talk}


def as_sharegpt(dialogue: Dialogue, image: str | None) -> Iterator[Record]:
    """{id, conversations: [{from, value}], images: [...]}: as many <image> as images."""
    (record,) = as_llava(dialogue, None)
    yield record | {"images": [] if image is None else [image]}


def as_openai(dialogue: Dialogue, image: str | None) -> Iterator[Record]:
    """{messages: [{role, content}]}; the image is a part of the first message."""
    messages = [_message(turn, image) for turn in dialogue.turns]
    yield {"messages": messages}


def as_lavis(dialogue: Dialogue, image: str | None) -> Iterator[Record]:
    """{instruction_id, image?, text_input, text_output} of each exchange (LAVIS, InstructBLIP).

    What was said before is in the input, as its readers know one exchange only."""
    before: list[str] = []
    pairs = zip(dialogue.turns[::2], dialogue.turns[1::2], strict=True)
    for number, (asked, said) in enumerate(pairs):
        question, answer = _plain(asked), _plain(said)
        record = _with_image({"instruction_id": f"{dialogue.id}-{number}"}, "image", image)
        yield record | {"text_input": "\n".join([*before, question]), "text_output": answer}
        before += [f"Question: {question}", f"Answer: {answer}"]


Exporter = Callable[[Dialogue, str | None], Iterator[Record]]
EXPORTERS: dict[str, tuple[str, Exporter]] = {  # format: its file, and what makes its records
    "llava": ("llava.json", as_llava),
    "lavis": ("lavis.json", as_lavis),
    "sharegpt": ("sharegpt.json", as_sharegpt),
    "openai": ("openai.jsonl", as_openai),
}


def write_format(name: str, path: Path, shown: Iterable[Shown]) -> int:
    """Write one format's file, a record at a time; returns how many. `.json` files are one list."""
    file, export = EXPORTERS[name]
    records = (record for dialogue, image in shown for record in export(dialogue, image))
    lines = (json.dumps(record, ensure_ascii=False) for record in records)
    count = 0
    with path.open("w", encoding="utf-8") as sink:
        as_list = not file.endswith(".jsonl")
        sink.write("[\n" if as_list else "")
        for count, line in enumerate(lines, 1):
            sink.write(f",\n{line}" if as_list and count > 1 else line)
            sink.write("" if as_list else "\n")
        sink.write("\n]\n" if as_list else "")
    return count


def _with_image(record: Record, name: str, image: str | None) -> Record:
    return record if image is None else record | {name: image}


def _message(turn: Turn, image: str | None) -> Record:
    content: Any = _plain(turn)
    if IMAGE_TOKEN in turn.text and image is not None:
        shown = {"type": "image_url", "image_url": {"url": image}}
        content = [shown, {"type": "text", "text": content}]
    return {"role": _OPENAI[turn.role], "content": content}


def _plain(turn: Turn) -> str:
    return turn.text.replace(IMAGE_TOKEN, "").strip()
