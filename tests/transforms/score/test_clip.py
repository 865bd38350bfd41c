"""The CLIP measure: cosines, batches, and a number that depends on nothing but its pair."""

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from schemas.errors import CorruptPoolError
from schemas.layout import pool_manifest
from transforms.score.clip import clip_scores, measure_clip
from transforms.score.clip_model import Clip, load_clip
from transforms.score.policy import LOCAL_DIR, ClipPolicy
from transforms.shards.commit import file_facts
from transforms.shards.pool import PoolImages, read_pool
from transforms.shards.tar import index_tar

BATCH = 4
SHIPPED = Path(__file__).parents[3] / "pipelines" / "pocket" / "clip"
POCKET = ClipPolicy(architecture=f"{LOCAL_DIR}{SHIPPED}", batch_size=BATCH)
Encoder = Callable[..., torch.Tensor]


@pytest.fixture
def clip(tiny_clip: Path) -> Clip:
    return load_clip(ClipPolicy(architecture=f"{LOCAL_DIR}{tiny_clip}", batch_size=BATCH))


def _pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    return [Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)) for _ in range(count)]


def test_clip_scores_are_cosines() -> None:
    images = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    texts = np.array([[1, 0], [0.8, 0.6], [0, -1]], np.float32)
    assert clip_scores(images, texts).tolist() == pytest.approx([1, 0.96, -1])


def test_clip_scores_refuse_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(2, 2\)"):
        clip_scores(np.zeros((1, 2), np.float32), np.zeros((2, 2), np.float32))


def test_embeddings_have_norm_1(clip: Clip) -> None:
    for vectors in (clip.embed_images(_pictures(3)), clip.embed_texts(["a dog", "", "x " * 99])):
        assert vectors.shape == (3, 8)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_an_embedding_does_not_depend_on_its_batch_mates(clip: Clip) -> None:
    """Each item alone, padded, against the same item in a full batch: images bit for bit, texts
    to rounding, since a batch's texts are cut to the longest of them."""
    pictures, texts = _pictures(BATCH), ["a dog", "two cats on a mat", "", "a very long " * 20]
    together = clip.embed_images(pictures), clip.embed_texts(texts)
    for place in range(BATCH):
        alone = clip.embed_images([pictures[place]]), clip.embed_texts([texts[place]])
        assert alone[0][0].tobytes() == together[0][place].tobytes()
        np.testing.assert_allclose(alone[1][0], together[1][place], atol=1e-6)


@pytest.mark.parametrize("pools", ["argmax", "eos"])
def test_texts_cut_to_the_longest_give_what_whole_rows_give(pools: str, clip: Clip) -> None:
    """For both ways in which open_clip's towers find a text's end; the pocket model's is eos."""
    clip = clip if pools == "argmax" else load_clip(POCKET)
    assert clip.model.text_pool_type == pools
    texts = ["a dog", "two cats on a mat", "", "a very long " * 20]
    with torch.inference_mode():
        whole = clip.model.encode_text(clip.tokenizer(texts), normalize=True).numpy()
    np.testing.assert_allclose(clip.embed_texts(texts), whole, atol=1e-6)


def test_bf16_is_near_fp32() -> None:
    """With the weights that ship. Norms are 1 to the precision of float32, not of bfloat16."""
    texts = ["a dog", "two cats on a mat", "", "a very long " * 20]
    fp32, bf16 = load_clip(POCKET), load_clip(POCKET.model_copy(update={"precision": "bf16"}))
    assert {p.dtype for p in bf16.model.parameters()} == {torch.bfloat16}
    for near, exact in (
        (bf16.embed_images(_pictures(4)), fp32.embed_images(_pictures(4))),
        (bf16.embed_texts(texts), fp32.embed_texts(texts)),
    ):
        assert near.dtype == np.float32
        assert not np.array_equal(near, exact)
        assert np.linalg.norm(near, axis=1) == pytest.approx(np.ones(4), abs=1e-6)
        assert clip_scores(near, exact).min() >= 0.9999


def test_every_batch_that_a_model_sees_has_one_size(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix kernels differ by size: only with equal sizes is a number sure not to."""
    seen: list[int] = []
    for name in ("encode_image", "encode_text"):
        encode = getattr(clip.model, name)

        def noted(batch: torch.Tensor, encode: Encoder = encode, **how: bool) -> torch.Tensor:
            seen.append(len(batch))
            return encode(batch, **how)

        monkeypatch.setattr(clip.model, name, noted)
    for count in range(1, BATCH + 1):
        assert len(clip.embed_images(_pictures(count))) == count
        assert len(clip.embed_texts(["a dog"] * count)) == count
    assert set(seen) == {BATCH}


def _rows(draw_pool, pool: Path, count: int) -> pa.Table:
    rows = [{"row": n, "caption": f"a picture of {n}"} for n in range(count)]
    rows[2] |= {"image": 1, "url": "http://pool.test/1.jpg"}
    draw_pool(pool, 0, rows)
    return read_pool(pool, 0)


def test_rows_of_one_image_encode_it_once(draw_pool, clip: Clip, tmp_path: Path) -> None:
    rows = _rows(draw_pool, tmp_path, 11)
    with PoolImages(tmp_path, 0) as images:
        measured = measure_clip(rows, images, clip)
    assert measured.images_seen == 10
    assert measured.images.shape == measured.texts.shape == (11, 8)
    assert (measured.images[1] == measured.images[2]).all()
    assert measured.table["uid"].to_pylist() == rows["uid"].to_pylist()
    assert set(measured.table["text"].to_pylist()) == {0}
    cosines = (measured.images * measured.texts).sum(axis=1)
    assert measured.table["score"].to_pylist() == pytest.approx(cosines.tolist(), abs=1e-6)


def test_a_score_does_not_depend_on_the_rows_measured_with_it(
    draw_pool, clip: Clip, tmp_path: Path
) -> None:
    """As when a later run measures only the newcomers of a shard."""
    rows = _rows(draw_pool, tmp_path, 11)
    with PoolImages(tmp_path, 0) as images:
        whole = measure_clip(rows, images, clip).table["score"].to_pylist()
        for piece in (range(0, 11, 3), range(5, 9)):
            some = measure_clip(rows.take(list(piece)), images, clip).table["score"].to_pylist()
            assert some == [whole[place] for place in piece]


@pytest.mark.parametrize("decoders", [1, 3])
def test_decoding_beside_the_model_changes_no_bit(
    decoders: int, draw_pool, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _rows(draw_pool, tmp_path, 11)
    monkeypatch.setattr("transforms.score.clip._decoders", lambda _: decoders)
    with PoolImages(tmp_path, 0) as images:
        measured = measure_clip(rows, images, clip)
        keys = list(dict.fromkeys(rows["key"].to_pylist()))
        pictures = [Image.open(io.BytesIO(images.read(key)[1])).convert("RGB") for key in keys]
    alone = {key: clip.embed_images([one])[0] for key, one in zip(keys, pictures, strict=True)}
    for vector, key in zip(measured.images, rows["key"].to_pylist(), strict=True):
        assert vector.tobytes() == alone[key].tobytes()
    texts = rows["caption"].to_pylist()
    cuts = [clip.embed_texts(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
    assert measured.texts.tobytes() == np.concatenate(cuts).tobytes()


def test_no_rows_give_no_scores(draw_pool, clip: Clip, tmp_path: Path) -> None:
    rows = _rows(draw_pool, tmp_path, 3)
    with PoolImages(tmp_path, 0) as images:
        measured = measure_clip(rows.slice(0, 0), images, clip)
    assert (measured.table.num_rows, len(measured.images), measured.images_seen) == (0, 0, 0)


def test_a_model_that_fails_leaves_no_thread(
    draw_pool, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _rows(draw_pool, tmp_path, 11)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(clip.model, "encode_image", fail)
    with PoolImages(tmp_path, 0) as images, pytest.raises(RuntimeError, match="out of memory"):
        measure_clip(rows, images, clip)
    assert not [t.name for t in threading.enumerate() if t.name.startswith("ahead")]


def test_an_image_that_cannot_be_decoded_any_more_names_its_shard(
    draw_pool, clip: Clip, tmp_path: Path
) -> None:
    rows = _rows(draw_pool, tmp_path, 3)
    tar = tmp_path / "00000.tar"
    span = index_tar(tar)["000000001"]["jpg"]
    data = bytearray(tar.read_bytes())
    data[span.offset : span.offset + span.length] = bytes(span.length)
    tar.write_bytes(data)
    manifest = pool_manifest(tmp_path, 0)  # as if it had been committed like that
    facts = json.loads(manifest.read_text())
    facts["files"][tar.name] = dict(file_facts(tar))
    manifest.write_text(json.dumps(facts))
    with (
        PoolImages(tmp_path, 0) as images,
        pytest.raises(CorruptPoolError, match=r"00000\.tar .*000000001.* run again"),
    ):
        measure_clip(rows, images, clip)
    assert not [t.name for t in threading.enumerate() if t.name.startswith("ahead")]


def test_a_tar_that_was_changed_since_is_refused(draw_pool, tmp_path: Path) -> None:
    _rows(draw_pool, tmp_path, 3)
    tar = tmp_path / "00000.tar"
    data = bytearray(tar.read_bytes())
    data[index_tar(tar)["000000001"]["jpg"].offset + 40] ^= 1
    tar.write_bytes(data)
    with pytest.raises(CorruptPoolError, match="other bytes than when it was committed"):
        PoolImages(tmp_path, 0)
