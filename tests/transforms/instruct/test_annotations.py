import json
from pathlib import Path
from typing import Any

import pytest

from schemas.context import Context, Thing
from schemas.errors import BadInputError
from transforms.instruct.annotations import read_annotations

DOG = {"label": "dog", "box": [0.1, 0.2, 0.3, 0.4]}


def written(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "objects.jsonl"
    told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(told) + "\n", encoding="utf-8")
    return path


def test_lines_are_found_by_uid_or_url(tmp_path: Path) -> None:
    asked = {"question": "what?", "answers": ["a dog"]}
    path = written(
        tmp_path,
        {"uid": "u1", "objects": [DOG], "questions": [asked], "licence": "ignored"},
        {"url": "http://a.test/1", "objects": [], "ocr_tokens": ["STOP"]},
    )
    found = read_annotations(path)
    context = found.context("u1", "http://a.test/2", ("a caption",))
    assert context.captions == ("a caption",)
    assert context.things == (Thing(label="dog", box=(0.1, 0.2, 0.3, 0.4)),)
    assert context.answered[0].answers == ("a dog",)
    other = found.context("u2", "http://a.test/1", ())
    assert (other.things, other.lettering) == ((), ("STOP",))
    assert found.context("u3", "", ("c",)) == Context(captions=("c",))
    assert read_annotations(None).context("u1", "", ()).things is None


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    path = written(tmp_path, {"uid": "u1", "objects": []})
    assert read_annotations(path).context("u1", "", ()).things == ()
    written(tmp_path, {"uid": "u1", "objects": [DOG]})
    assert read_annotations(path).context("u1", "", ()).things != ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2 is not JSON"),
        ({"objects": []}, "line 2: name the image by its `uid` or by its `url`"),
        ({"uid": "a", "url": "b"}, "line 2: name the image"),
        ({"uid": "first", "objects": []}, "line 2: first was there before"),
        ({"uid": "a", "objcts": []}, "line 2: neither `objects` nor `questions` nor"),
        ({"uid": "", "objects": []}, "line 2: uid: String should have at least 1"),
        ({"uid": "a", "objects": [{**DOG, "label": "."}]}, "line 2: objects.0.label: String"),
        ({"uid": "b", "objects": [{**DOG, "box": [0, 0, 1, 640]}]}, "objects.0.box.3: Input"),
        ({"uid": "b", "objects": [{**DOG, "box": [0.5, 0, 0.1, 1]}]}, "x1 <= x2"),
        ({"uid": "b", "objects": [{"box": [0, 0, 1, 1]}]}, "objects.0.label: Field required"),
        ({"uid": "b", "questions": [{"question": "q", "answers": []}]}, "questions.0.answers"),
        ("[]", "line 2: Input should be"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_with_its_number(
    line: Any, told: str, tmp_path: Path
) -> None:
    path = written(tmp_path, {"uid": "first", "objects": []}, line)
    with pytest.raises(BadInputError) as refused:
        read_annotations(path)
    assert told in str(refused.value)
    assert "objects.jsonl" in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"annotations .*none\.jsonl cannot be read"):
        read_annotations(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_annotations(tmp_path / "binary")
