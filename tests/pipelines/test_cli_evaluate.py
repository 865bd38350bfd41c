"""The commands of `pairmill evaluate`, on files and shards drawn in code."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.cli_evaluate import evaluate_app
from schemas.errors import BadInputError
from transforms.shards.tar import sample_writer

COLOURS = ("red", "blue", "green")


def _run(*words: str | Path) -> None:
    evaluate_app([str(word) for word in words], standalone_mode=False)


def _told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """references.jsonl of three images, said.jsonl of two of them, and the images."""
    (tmp_path / "images").mkdir()
    people, said = [], []
    for colour in COLOURS:
        Image.new("RGB", (64, 64), colour).save(tmp_path / "images" / f"{colour}.png")
        texts = [f"a {colour} square", f"something {colour}", f"one {colour} plain square"]
        people.append({"id": colour, "split": "val", "captions_en": texts})
        said.append({"id": colour, "caption": f"a {colour} square"})
    (tmp_path / "references.jsonl").write_text("\n".join(map(json.dumps, people)))
    (tmp_path / "said.jsonl").write_text("\n".join(map(json.dumps, said[:2])))
    return tmp_path


def test_captions_against_references(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = files / "references.jsonl"
    _run("captions", files / "said.jsonl", "--references", people, "--json")
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found.keys() == {
        *("images", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider")
    }
    assert (found["images"], found["bleu_3"], found["rouge_l"]) == (2, 1.0, pytest.approx(1))
    assert err == "1 of 3 images with references have no candidate and do not count.\n"
    _run("captions", files / "said.jsonl", "--references", people)
    shown = capsys.readouterr().out
    assert "2 images" in shown
    assert f"{found['cider']:.4f}" in shown


def test_the_first_reference_against_the_others(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run("captions", "--references", files / "references.jsonl", "--first", "--json")
    found = _told(capsys)
    assert found["images"] == 3
    assert 0 < found["bleu_1"] <= 1 > found["bleu_3"]  # its own words are not among the others


def test_captions_against_images(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = ("--images", files / "images", "--json")
    _run("captions", files / "said.jsonl", *images)
    alone = _told(capsys)
    assert alone.keys() == {"images", "clipscore"}
    assert 0 < alone["clipscore"] <= 2.5
    _run("captions", files / "said.jsonl", "--references", files / "references.jsonl", *images)
    both = _told(capsys)
    assert both["clipscore"] == pytest.approx(alone["clipscore"])
    # Each candidate is one of its references: the harmonic mean with 1.
    assert both["ref_clipscore"] == pytest.approx(
        2 * alone["clipscore"] / (alone["clipscore"] + 1), abs=0.02
    )


def test_retrieval_over_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sample_writer(tmp_path / "00000.tar") as writer:
        for number, colour in enumerate(COLOURS):
            out = io.BytesIO()
            Image.new("RGB", (64, 64), colour).save(out, "JPEG")
            record = {"captions": [{"text": f"a {colour} square"}, {"text": f"{colour}"}]}
            members = {"jpg": out.getvalue(), "txt": b"x", "json": json.dumps(record).encode()}
            writer.write(str(number), members)
    _run("retrieval", tmp_path, "--json")
    found = _told(capsys)
    assert (found["images"], found["texts"]) == (3, 6)
    assert found["text_to_image"]["queries"] == 6
    assert found["text_to_image"]["recall_at_5"] == 1.0  # of three images
    assert 0 < found["image_to_text"]["ndcg_at_10"] <= 1
    _run("retrieval", tmp_path)
    assert "image to text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["said.jsonl"], "nothing to measure against"),
        (["--references", "references.jsonl"], "no candidates: name their file"),
        (["said.jsonl", "--references", "references.jsonl", "--first"], "name that file only"),
        (["--images", "images", "--first"], "name that file only"),
        (["said.jsonl", "--references", "no.jsonl"], "cannot be read"),
        (["said.jsonl", "--references", "references.jsonl", "--split", "test"], "split 'test'"),
        (["said.jsonl", "--references", "said.jsonl", "--split", "val"], "split 'val'"),
        (["said.jsonl", "--images", "images", "--clip", "nonsense"], "CLIP model nonsense"),
        (["said.jsonl", "--images", "."], "has no file of its own for 2 of 2 images"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: list[str], told: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    with pytest.raises(BadInputError, match=told):
        _run("captions", *words)


def test_one_reference_each_leaves_nothing_for_first(files: Path) -> None:
    with pytest.raises(BadInputError, match="at least two references"):
        _run("captions", "--references", files / "said.jsonl", "--first")
