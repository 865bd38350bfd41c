"""Retrieval counted by hand, and the shards it reads."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from schemas.errors import BadInputError
from transforms.evaluate.corpus import read_corpus
from transforms.evaluate.retrieval import measure_retrieval, own_ranks
from transforms.shards.tar import sample_writer

F = np.float32


def _jpeg(colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(out, "JPEG")
    return out.getvalue()


def test_both_ways_by_hand() -> None:
    """12 images; text i is image i but that 0 and 1 are exchanged, and 5 tells nothing."""
    image = np.eye(12, dtype=F)
    text = image[[1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]].copy()
    text[5] = 0  # ties with all: never a find
    found = measure_retrieval(image, text, [1] * 12)
    assert (found.images, found.texts, found.text_to_image.queries) == (12, 12, 12)
    for way in (found.text_to_image, found.image_to_text):
        assert way.recall_at_1 == pytest.approx(9 / 12)
        assert way.recall_at_10 == pytest.approx(9 / 12)  # those exchanged tie with 10 others
        assert way.ndcg_at_10 == pytest.approx(9 / 12)


def test_ranks_between_the_first_and_the_tenth() -> None:
    """One image whose only text is the third nearest: found at 5, not at 1; NDCG 1 / log2(4)."""
    angles = np.radians([30, 10, 20, 90, 120, 150])
    image = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(F)
    text = image.copy()
    text[0] = [1, 0]  # nearest to 10 degrees, then 20, then its own 30
    found = measure_retrieval(image, text, [1] * 6).text_to_image
    assert found.recall_at_1 == pytest.approx(5 / 6)
    assert found.recall_at_5 == found.recall_at_10 == 1.0
    assert found.ndcg_at_10 == pytest.approx((5 + 1 / math.log2(4)) / 6)


def test_an_image_with_several_texts() -> None:
    """Texts 0, 1 and 2 are of image 0; text 2 looks like image 1, and beats text 3 there."""
    image = np.array([[1, 0], [0, 1]], F)
    text = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]], F)
    found = measure_retrieval(image, text, [3, 1])
    assert found.text_to_image.recall_at_1 == pytest.approx(3 / 4)
    first = (1 + 1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))
    assert found.image_to_text.ndcg_at_10 == pytest.approx((first + 1 / math.log2(3)) / 2)
    assert found.image_to_text.recall_at_1 == pytest.approx(1 / 2)  # any of its own counts


def test_ranks_are_those_of_counting() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 9, size=(20, 40)).astype(F)  # with many ties
    starts = np.arange(20) * 2
    ranks = list(own_ranks(scores, np.eye(40, dtype=F), starts, starts + 2))
    for row, start, found in zip(scores, starts, ranks, strict=True):
        others = np.delete(row, [start, start + 1])
        high, low = sorted(row[start : start + 2], reverse=True)
        wanted = [(others >= high).sum(), (others >= low).sum() + 1]
        assert [min(rank, 10) for rank in found] == [min(rank, 10) for rank in wanted]


def test_nan_is_no_find() -> None:
    image = np.eye(3, dtype=F)
    text = image.copy()
    text[0] = np.nan
    found = measure_retrieval(image, text, [1, 1, 1])
    assert found.text_to_image.recall_at_1 == pytest.approx(2 / 3)
    assert found.image_to_text.recall_at_1 == 0.0  # it stands before every image's own


def test_numbers_that_do_not_add_up_are_refused() -> None:
    image = np.eye(2, dtype=F)
    for texts_of in ([1, 2], [2, 0], [2]):
        with pytest.raises(BadInputError, match="at least one text each"):
            measure_retrieval(image, image, texts_of)


def test_samples_are_read_with_all_their_texts(tmp_path: Path) -> None:
    record = {"caption": "a dog", "captions": [{"text": "a dog"}, {"text": "one dog"}]}
    with sample_writer(tmp_path / "00000.tar") as writer:
        writer.write("a", {"jpg": _jpeg(), "txt": b"x", "json": json.dumps(record).encode()})
        writer.write("b", {"png": _jpeg("blue"), "txt": b" a cat\n"})
    found = list(read_corpus(tmp_path))
    assert [(one.key, one.texts) for one in found] == [
        ("a", ("a dog", "one dog")),
        ("b", ("a cat",)),
    ]
    assert [(one.image.mode, one.image.size) for one in found] == [("RGB", (8, 6))] * 2


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"txt": b"a"}, "a has no image"),
        ({"jpg": b"\xff\xd8", "txt": b"a"}, "its image cannot be read"),
        ({"jpg": _jpeg()}, "its texts cannot be read"),
        ({"jpg": _jpeg(), "txt": b" "}, "has no text"),
        ({"jpg": _jpeg(), "json": b"{"}, "its texts cannot be read"),
        ({"jpg": _jpeg(), "json": b'{"captions": [7]}'}, "its texts cannot be read"),
    ],
)
def test_samples_that_lack_something_are_refused(
    members: dict[str, bytes], told: str, tmp_path: Path
) -> None:
    with sample_writer(tmp_path / "00000.tar") as writer:
        writer.write("a", members)
    with pytest.raises(BadInputError, match=told):
        list(read_corpus(tmp_path))


def test_folders_without_good_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no \.tar shards"):
        list(read_corpus(tmp_path))
    (tmp_path / "00000.tar").write_bytes(b"no tar")
    with pytest.raises(BadInputError, match="no readable shard"):
        list(read_corpus(tmp_path))
