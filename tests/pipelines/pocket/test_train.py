import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset as wds
from typer.testing import CliRunner

from pipelines.demo.scenes import captions, draw, sample_scene
from pipelines.pocket.__main__ import app
from pipelines.pocket.evaluate import evaluate
from pipelines.pocket.photos import is_dev, read_photos
from schemas.errors import BadInputError


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """One universal shard of 40 drawn pictures, as the build stage lays it out."""
    folder, rng = tmp_path / "shards", random.Random(3)
    folder.mkdir()
    with wds.TarWriter(str(folder / "00000.tar")) as tar:
        for _ in range(40):
            tar.write(_sample(rng))
    return folder


def _sample(rng: random.Random) -> dict[str, object]:
    scene, jpeg, uid = (
        sample_scene(rng, held_out=False),
        io.BytesIO(),
        f"{rng.getrandbits(128):032x}",
    )
    draw(scene, 64).save(jpeg, "JPEG")
    facts = {"uid": uid, "captions": [{"text": text, "source": "web"} for text in captions(scene)]}
    return {"__key__": uid, "jpg": jpeg.getvalue(), "json": json.dumps(facts).encode()}


def _train(shards: Path, out: Path, *more: str) -> list[float]:
    """The losses of a few steps of the training command."""
    threads = torch.get_num_threads()
    said = CliRunner().invoke(
        app,
        [
            *("train", "--shards", str(shards), "--no-teacher", "--json"),
            *("--out", str(out), "--cache", str(out.parent / "cache")),
            *("--views", "2", "--photos", "16", "--scenes", "16", "--drawn", "48"),
            *("--threads", "1", *more),
        ],
        catch_exceptions=False,
    )
    torch.set_num_threads(threads)
    return json.loads(said.stdout.splitlines()[-1])["losses"]


@pytest.mark.slow
def test_a_few_steps_make_the_loss_fall(shards: Path, tmp_path: Path) -> None:
    losses = _train(shards, tmp_path / "clip", "--steps", "14")
    assert len(losses) == 14
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    assert (tmp_path / "clip" / "open_clip_model.safetensors").is_file()


def test_what_training_kept_apart_is_measured(shards: Path, pocket_clip: Path) -> None:
    apart = [photo for photo in read_photos(shards) if is_dev(photo.uid)]
    figures = evaluate(pocket_clip, scenes=0, photos=None, shards=shards, thresholds=[0.1])["dev"]
    assert figures["images"] == len(apart) > 1
    assert figures["wrong_dropped_under_0.1"] > figures["right_lost_under_0.1"]


@pytest.mark.slow
def test_training_goes_on_from_a_model(shards: Path, tmp_path: Path) -> None:
    first = _train(shards, tmp_path / "first", "--steps", "14")
    more = _train(shards, tmp_path / "more", "--steps", "2", "--start", str(tmp_path / "first"))
    assert more[0] < 0.8 * first[0]
    assert (tmp_path / "more" / "README.md").read_text().count("Settings: ") == 2


def test_photographs_are_read_in_order_of_uid(shards: Path) -> None:
    photos = read_photos(shards)
    assert [photo.uid for photo in photos] == sorted(photo.uid for photo in photos)
    assert photos[0].pixels.shape == (64, 64, 3)
    assert len(photos[0].captions) == 10


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no \.tar shards"):
        read_photos(tmp_path)


def test_a_sample_without_captions_is_refused(tmp_path: Path) -> None:
    with wds.TarWriter(str(tmp_path / "00000.tar")) as tar:
        tar.write({"__key__": "a", "jpg": b"", "json": b'{"uid": "a", "captions": []}'})
    with pytest.raises(BadInputError, match="has no caption"):
        read_photos(tmp_path)


KNOWN_DEV = [16, 21, 29]


def test_one_photograph_in_twelve_is_held_out() -> None:
    rng = random.Random(0)
    held = sum(is_dev(f"{rng.getrandbits(128):032x}") for _ in range(6000))
    assert 400 < held < 600
    assert [n for n in range(40) if is_dev(f"{n:032x}")] == KNOWN_DEV
