"""Files of captions: the two kinds that are read, and one sentence for the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BadInputError
from transforms.evaluate.caption_files import read_candidates, read_references

COCO = {
    "images": [{"id": 7}],
    "annotations": [
        {"id": 1, "image_id": 7, "caption": "a dog"},
        {"id": 2, "image_id": 7, "caption": "a brown dog"},
        {"id": 3, "image_id": 8, "caption": "a cat"},
    ],
}
LINES = [
    {"id": "x", "split": "val", "captions_en": ["a dog", "one dog"], "captions_zh": ["狗"]},
    {"id": "y", "split": "train", "captions_en": ["a cat"], "captions_zh": ["猫"]},
    {"image_id": 3, "split": "val", "captions": ["a cow"]},
]


def _write(path: Path, content: Any) -> Path:
    lines = "\n".join(json.dumps(line) for line in content) if path.suffix == ".jsonl" else None
    path.write_text(json.dumps(content) if lines is None else lines + "\n\n")
    return path


def test_coco_annotations_are_gathered_by_image(tmp_path: Path) -> None:
    found = read_references(_write(tmp_path / "a.json", COCO))
    assert found == {"7": ["a dog", "a brown dog"], "8": ["a cat"]}


def test_coco_results_and_lines_are_candidates(tmp_path: Path) -> None:
    results = [{"image_id": 7, "caption": "a dog"}, {"image_id": 8, "caption": ""}]
    wanted = {"7": "a dog", "8": ""}
    assert read_candidates(_write(tmp_path / "a.json", results)) == wanted
    assert read_candidates(_write(tmp_path / "a.jsonl", results)) == wanted


def test_lines_are_read_by_split_and_language(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", LINES)
    assert read_references(path, split="val", language="en") == {
        "x": ["a dog", "one dog"],
        "3": ["a cow"],
    }
    assert read_references(path, split="train", language="zh") == {"y": ["猫"]}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "id,caption", r"\.jsonl and \.json"),
        ("a.json", "{", "no JSON"),
        ("a.json", '{"7": "a dog"}', "`annotations`"),
        ("a.json", "[7]", "entry 1: an object"),
        ("a.json", "[]", "no captions are there"),
        ("a.jsonl", '{"id": 1, "caption": "a"}\n{"id": 2', "line 2: no JSON"),
        ("a.jsonl", '{"caption": "a"}', "line 1: `image_id` or `id`"),
        ("a.jsonl", '{"id": true, "caption": "a"}', "line 1: `image_id` or `id`"),
        ("a.jsonl", '{"id": 1, "caption": null}', "line 1: a text `caption`"),
        ("a.jsonl", '{"id": 1, "captions": "a dog"}', "line 1: a text `caption`"),
        ("a.jsonl", '{"id": 1, "captions": []}', "line 1: a text `caption`"),
        ("a.jsonl", '{"id": 1, "captions": ["a", "b"]}', "more than one caption"),
        ("a.jsonl", '{"id": 1, "caption": "a"}\n{"id": "1", "caption": "b"}', "more than one"),
    ],
)
def test_other_candidates_are_refused(name: str, content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadInputError, match=told):
        read_candidates(path)


def test_references_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", LINES)
    with pytest.raises(BadInputError, match="of the split 'test'"):
        read_references(path, split="test", language="en")
    with pytest.raises(BadInputError, match=r"line 1: .* `captions_fr`"):
        read_references(path, language="fr")
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        read_references(tmp_path / "b.jsonl")
    (tmp_path / "c.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match="no text in UTF-8"):
        read_references(tmp_path / "c.json")
