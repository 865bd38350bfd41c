"""What each writer gives, against the rules of its readers."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.dialogue import Dialogue, Kind
from tests.transforms.instruct.talk import dialogue
from transforms.instruct.formats import EXPORTERS, write_format

TALK = dialogue(("Q", "What runs?"), ("A", "A dog."), ("Q", "Where?"), ("A", "On “grass”."))
SHORT = dialogue(("Q", "What colour is it?"), ("A", "赤"), kind=Kind.SHORT_ANSWER)
ID = f"{'a' * 32}-conversation-0"


def records(name: str, *dialogues: Dialogue) -> list[dict[str, Any]]:
    export = EXPORTERS[name][1]
    return [record for one in dialogues for record in export(one, (f"{one.id}.jpg", b"pixels"))]


def test_llava_reads_turns_of_human_and_gpt() -> None:
    (record,) = records("llava", TALK)
    assert record == {
        "id": ID,
        "image": f"{ID}.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat runs?"},
            {"from": "gpt", "value": "A dog."},
            {"from": "human", "value": "Where?"},
            {"from": "gpt", "value": "On “grass”."},
        ],
    }
    (text_only,) = EXPORTERS["llava"][1](TALK, None)
    assert "image" not in text_only


def test_sharegpt_lists_as_many_images_as_there_are_tokens() -> None:
    (record,) = records("sharegpt", TALK)
    tokens = sum(turn["value"].count("<image>") for turn in record["conversations"])
    assert tokens == len(record["images"]) == 1


def test_lavis_has_a_record_for_each_exchange_with_what_was_said_before() -> None:
    first, second = records("lavis", TALK)
    assert first == {
        "instruction_id": f"{ID}-0",
        "image": f"{ID}.jpg",
        "text_input": "What runs?",
        "text_output": "A dog.",
    }
    assert second["text_input"] == "Question: What runs?\nAnswer: A dog.\nWhere?"
    assert second["text_output"] == "On “grass”."


def test_openai_shows_the_image_in_the_first_message() -> None:
    (record,) = records("openai", TALK)
    first, answer, second, _ = record["messages"]
    assert first == {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,cGl4ZWxz"}},
            {"type": "text", "text": "What runs?"},
        ],
    }
    assert answer == {"role": "assistant", "content": "A dog."}
    assert second == {"role": "user", "content": "Where?"}


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_file_holds_every_record_as_json(name: str, tmp_path: Path) -> None:
    file = EXPORTERS[name][0]
    shown = [(one, (f"{one.id}.jpg", b"pixels")) for one in (TALK, SHORT)]
    count = write_format(name, tmp_path / file, iter(shown))
    text = (tmp_path / file).read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()] if "jsonl" in file else None
    found = json.loads(text) if found is None else found
    assert found == records(name, TALK, SHORT)
    assert count == len(found)
    assert "赤" in text


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_empty_file_can_be_read(name: str, tmp_path: Path) -> None:
    file = EXPORTERS[name][0]
    assert write_format(name, tmp_path / file, []) == 0
    text = (tmp_path / file).read_text()
    assert text == "" if "jsonl" in file else json.loads(text) == []
