"""CLIPScore and RefCLIPScore by hand, their embeddings, and the files of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from schemas.errors import BadInputError
from transforms.evaluate.clip_score import (
    PROMPT,
    clipscores,
    find_images,
    open_image,
    ref_clipscores,
)
from transforms.evaluate.embed import embed_all
from transforms.score.clip_model import load_clip
from transforms.score.policy import ClipPolicy

F = np.float32
IMAGE = np.array([[1, 0], [1, 0], [0, 1]], F)
TEXT = np.array([[0.6, 0.8], [-0.6, 0.8], [0, 1]], F)


def test_clip_score_is_two_and_a_half_cosines_and_never_less_than_0() -> None:
    assert clipscores(IMAGE, TEXT) == pytest.approx([1.5, 0.0, 2.5])


def test_ref_clip_score_is_the_harmonic_mean_with_the_nearest_reference() -> None:
    references = [np.array([[1, 0], [0, 1]], F), np.array([[-0.6, 0.8]], F), -TEXT[2:]]
    found = ref_clipscores(clipscores(IMAGE, TEXT), TEXT, references)
    # 2 * 1.5 * 0.8 / (1.5 + 0.8); and none where either is 0.
    assert found == pytest.approx([2.4 / 2.3, 0.0, 0.0])


def test_embeddings_do_not_depend_on_how_many_are_asked_for(tiny_clip: Path) -> None:
    clip = load_clip(ClipPolicy(architecture=f"local-dir:{tiny_clip}", batch_size=2))
    texts = ["a dog", "a cat", "a cow", "two cows", "a red cow"]
    found = embed_all(iter(texts), clip.embed_texts, 2)
    assert found.shape == (5, 8)
    assert np.allclose(found[4], clip.embed_texts(texts[4:])[0], atol=1e-6)
    assert embed_all([], clip.embed_texts, 2).shape == (0, 0)


def test_images_are_found_by_name_and_by_coco_number(tmp_path: Path) -> None:
    names = ["a.b.jpg", "c.PNG", "COCO_val2014_000000000042.jpg", "000000000043.jpg", "a.txt"]
    for name in names:
        (tmp_path / name).touch()
    found = find_images(tmp_path, ["a.b", "c.PNG", "42", "43"])
    assert [path.name for path in found.values()] == names[:4]
    assert list(found) == ["a.b", "c.PNG", "42", "43"]
    with pytest.raises(BadInputError, match="no file of its own for 2 of 3 images, the first 'a'"):
        find_images(tmp_path, ["a", "42", "44"])
    with pytest.raises(BadInputError, match="cannot be read"):
        find_images(tmp_path / "none", ["a"])


def test_a_file_is_only_one_images(tmp_path: Path) -> None:
    for name in ("1.jpg", "1.png", "2.jpg"):
        (tmp_path / name).touch()
    found = find_images(tmp_path, ["1.png", "1.jpg", "2"])
    assert [path.name for path in found.values()] == ["1.png", "1.jpg", "2.jpg"]
    with pytest.raises(BadInputError, match="for 1 of 1 images, the first '1'"):
        find_images(tmp_path, ["1"])
    with pytest.raises(BadInputError, match=r"for 1 of 2 images, the first 'b/2\.jpg'"):
        find_images(tmp_path, ["a/2.jpg", "b/2.jpg"])


def test_clip_scores_prompt_is_its_papers() -> None:
    assert PROMPT == "A photo depicts "  # Hessel et al. 2021, section 3


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 3), 200).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").mode == "RGB"
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:20])
    with pytest.raises(BadInputError, match=r"b\.png is no picture"):
        open_image(tmp_path / "b.png")
