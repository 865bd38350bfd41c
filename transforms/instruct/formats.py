"""Dialogues as trainers read them. Each writer's records obey the rules of its readers.

Images are named as shards name them: KEY.jpg or KEY.png, where KEY is the dialogue's id.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from schemas.dialogue import IMAGE_TOKEN, Dialogue, Role, Turn

Record = dict[str, Any]
Picture = tuple[str, bytes]  # an image's name in the shards, and its encoded bytes
Shown = tuple[Dialogue, Picture | None]  # None: text only

_LLAVA = {Role.PERSON: "human", Role.MODEL: "gpt"}
_OPENAI = {Role.PERSON: "user", Role.MODEL: "assistant"}


def as_llava(dialogue: Dialogue, picture: Picture | None) -> Iterator[Record]:
    """{id, image?, conversations: [{from: human or gpt, value}]} (LLaVA's data format)."""
    talk = [{"from": _LLAVA[turn.role], "value": turn.text} for turn in dialogue.turns]
    yield _with_image({"id": dialogue.id}, picture) | {"conversations": talk}


def as_sharegpt(dialogue: Dialogue, picture: Picture | None) -> Iterator[Record]:
    """{id, conversations: [{from, value}], images: [...]}: as many <image> as images."""
    (record,) = as_llava(dialogue, None)
    yield record | {"images": [] if picture is None else [picture[0]]}


def as_openai(dialogue: Dialogue, picture: Picture | None) -> Iterator[Record]:
    """{messages: [{role, content}]}; the image itself, as a data URL, is a part of the first
    message: OpenAI's fine-tuning and what is like it read no file beside theirs."""
    messages = [_message(turn, picture) for turn in dialogue.turns]
    yield {"messages": messages}


def as_lavis(dialogue: Dialogue, picture: Picture | None) -> Iterator[Record]:
    """{instruction_id, image?, text_input, text_output} of each exchange (LAVIS, InstructBLIP).

    What was said before is in the input, as its readers know one exchange only."""
    before: list[str] = []
    pairs = zip(dialogue.turns[::2], dialogue.turns[1::2], strict=True)
    for number, (asked, said) in enumerate(pairs):
        question, answer = _plain(asked), _plain(said)
        record = _with_image({"instruction_id": f"{dialogue.id}-{number}"}, picture)
        yield record | {"text_input": "\n".join([*before, question]), "text_output": answer}
        before += [f"Question: {question}", f"Answer: {answer}"]


Exporter = Callable[[Dialogue, Picture | None], Iterator[Record]]
EXPORTERS: dict[str, tuple[str, Exporter]] = {  # format: its file, and what makes its records
    "llava": ("llava.json", as_llava),
    "lavis": ("lavis.json", as_lavis),
    "sharegpt": ("sharegpt.json", as_sharegpt),
    "openai": ("openai.jsonl", as_openai),
}


def write_format(name: str, path: Path, shown: Iterable[Shown]) -> int:
    """Write one format's file, a record at a time; returns how many. `.json` files are one list."""
    file, export = EXPORTERS[name]
    records = (record for dialogue, picture in shown for record in export(dialogue, picture))
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


def _with_image(record: Record, picture: Picture | None) -> Record:
    return record if picture is None else record | {"image": picture[0]}


def _message(turn: Turn, picture: Picture | None) -> Record:
    content: Any = _plain(turn)
    if IMAGE_TOKEN in turn.text and picture is not None:
        shown = {"type": "image_url", "image_url": {"url": _as_url(*picture)}}
        content = [shown, {"type": "text", "text": content}]
    return {"role": _OPENAI[turn.role], "content": content}


def _as_url(name: str, data: bytes) -> str:
    kind = "png" if name.endswith(".png") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _plain(turn: Turn) -> str:
    return turn.text.replace(IMAGE_TOKEN, "").strip()
