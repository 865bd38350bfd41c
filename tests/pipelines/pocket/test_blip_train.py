import io
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset as wds
from PIL import Image

from pipelines.demo.scenes import captions, draw, sample_scene
from pipelines.pocket.blip.itm import _negatives
from pipelines.pocket.blip.lessons import Pace, trimmed
from pipelines.pocket.blip.shape import MAX_TOKENS, SIDE, WIDTH
from pipelines.pocket.blip.tower import _DIRECTIONS, _REACH, on_patches, place_loss
from pipelines.pocket.blip.train import Source, train_captioner, train_itm
from pipelines.pocket.blip.words import token_ids, train_words
from schemas.errors import BadInputError
from transforms.capfilt.blip import load_blip_captioner, load_blip_matcher
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy

PACE = Pace(steps=12, photos=6, scenes=6)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """One universal shard of 30 drawn pictures, as the build stage lays it out."""
    folder, rng = tmp_path_factory.mktemp("photographs"), random.Random(3)
    with wds.TarWriter(str(folder / "00000.tar")) as tar:
        for _ in range(30):
            tar.write(_sample(rng))
    cache = folder / "cache"
    return Source(shards=folder, teacher=None, cache=cache, views=2, seed=0, threads=2)


def _sample(rng: random.Random) -> dict[str, object]:
    scene, jpeg, uid = sample_scene(rng, False), io.BytesIO(), f"{rng.getrandbits(128):032x}"
    draw(scene, 64).save(jpeg, "JPEG")
    facts = {"uid": uid, "captions": [{"text": text} for text in captions(scene)]}
    return {"__key__": uid, "jpg": jpeg.getvalue(), "json": json.dumps(facts).encode()}


@pytest.mark.slow
def test_a_captioner_learns_and_the_stage_loads_it(source: Source, tmp_path: Path) -> None:
    losses = train_captioner(source, None, tmp_path, PACE, 16, say=_mute)
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    (weights,) = tmp_path.glob("*.safetensors")
    assert weights.stat().st_size < 12_000_000
    assert "Trained on** 30 photographs" in (tmp_path / "README.md").read_text()
    loaded = load_blip_captioner(CaptionerPolicy(model=str(tmp_path)))
    picture = Image.new("RGB", (90, 60), "red")
    (texts,) = loaded.caption([picture], [[1, 2]])
    assert len(texts) == 2
    assert texts == loaded.caption([picture], [[1, 2]])[0]


@pytest.mark.slow
def test_an_itm_learns_and_the_stage_loads_it(source: Source, tmp_path: Path) -> None:
    losses = train_itm(source, None, tmp_path, PACE, 16, say=_mute)
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    loaded = load_blip_matcher(ItmPolicy(model=str(tmp_path)))
    (scores,) = loaded.match([Image.new("RGB", (90, 60), "red")], [["a red circle", "a dog"]])
    assert all(0 < score < 1 for score in scores)


@pytest.mark.slow
def test_what_is_gone_on_with_keeps_its_words_and_tells_each_training(
    source: Source, tmp_path: Path
) -> None:
    first, second, short = (
        tmp_path / "first",
        tmp_path / "second",
        Pace(steps=1, photos=2, scenes=2),
    )
    train_itm(source, None, first, short, 4, say=_mute)
    again = replace(source, start=first, seed=9)  # of other scenes, which have other words
    train_itm(again, None, second, replace(short, rate=1e-5), 4, say=_mute)
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
    lines = (second / "README.md").read_text().splitlines()
    told = [line for line in lines if line.startswith("Settings: ")]
    assert [("rate 0.002" in line, "rate 1e-05" in line) for line in told] == [
        (True, False),
        (False, True),
    ]


def test_a_tower_that_is_not_there_is_said_so(source: Source, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no tower is there"):
        train_captioner(source, tmp_path / "none", tmp_path, PACE, 16, say=_mute)


def test_where_a_patch_lies_is_told_along_fixed_directions() -> None:
    places = torch.arange(SIDE**2)[None]
    rows, columns = (places // SIDE, places % SIDE)
    told = torch.stack([rows, columns], dim=2) / (SIDE - 1) * 2 - 1
    seen = torch.cat([torch.zeros(1, 1, WIDTH), _REACH * told @ _DIRECTIONS], dim=1)
    assert place_loss(seen, places).item() == pytest.approx(0, abs=1e-9)
    some = torch.tensor([[5, 62, 9]])
    assert place_loss(seen[:, [0, 6, 63, 10]], some).item() == pytest.approx(0, abs=1e-9)
    mirrored = seen[:, [0, *(1 + (places // SIDE * SIDE + SIDE - 1 - columns))[0].tolist()]]
    assert place_loss(mirrored, places).item() > 0.5


def test_words_are_found_again() -> None:
    words = train_words(["a red circle above a blue square", "two dogs run"] * 3)
    ids = token_ids(words, [["two dogs run"], ["a red circle", "a blue square above"]], 2)
    assert ids.shape[:2] == (2, 2)
    assert ids.shape[2] == MAX_TOKENS
    assert ids[0, 0].tolist() == ids[0, 1].tolist()  # one caption only: taken again
    assert words.decode(ids[1, 1], skip_special_tokens=True) == "a blue square above"
    assert trimmed(ids[0]).shape[-1] < ids.shape[-1]


def test_negatives_are_never_the_same_text() -> None:
    torch.manual_seed(0)
    same = torch.eye(6, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    likeness = torch.zeros(6, 6)
    likeness[2, 5] = 50.0  # hard half of the time
    drawn = torch.stack([_negatives(likeness, same) for _ in range(200)])
    assert not same[torch.arange(6), drawn].any()
    assert 0.5 < (drawn[:, 2] == 5).float().mean() < 0.8


def test_a_map_lies_on_the_patches_it_tells_of() -> None:
    maps = torch.zeros(1, 2, 7, 7)
    maps[0, 1, 0, 6] = 1.0  # top right
    placed = on_patches(maps)[0, :, 1].view(SIDE, SIDE)
    assert placed.argmax().item() == SIDE - 1


def _mute(line: str) -> None:
    pass
