import numpy as np
import pytest

from pipelines.pocket.metrics import auc, recall_at, right_and_wrong, separation


@pytest.mark.parametrize(
    ("right", "wrong", "chance"),
    [([2, 3], [0, 1], 1.0), ([0, 1], [2, 3], 0.0), ([1, 1], [1, 1], 0.5), ([0, 2], [1, 1], 0.5)],
)
def test_auc_is_the_chance_that_right_beats_wrong(
    right: list[float], wrong: list[float], chance: float
) -> None:
    assert auc(np.array(right, np.float32), np.array(wrong, np.float32)) == chance


def test_separation_counts_what_falls_under_the_threshold() -> None:
    right = np.linspace(0.5, 1.0, 101, dtype=np.float32)
    wrong = np.linspace(0.0, 1.0, 101, dtype=np.float32)
    found = separation(right, wrong)
    assert found.threshold_at_10 == pytest.approx(0.55)
    assert found.wrong_dropped_at_10 == pytest.approx(0.55, abs=0.01)


def test_a_wrong_caption_is_never_the_images_own() -> None:
    image = np.eye(8, dtype=np.float32)
    right, wrong = right_and_wrong(image, np.repeat(image[:, None], 3, axis=1), seed=5)
    assert right.shape == wrong.shape == (24,)
    assert right.min() == 1.0
    assert wrong.max() == 0.0


def test_recall_counts_captions_whose_image_is_among_the_best() -> None:
    image = np.eye(4, dtype=np.float32)
    text = image[[0, 1, 3, 2], None]  # two captions fit their image, two fit another's
    assert recall_at(image, text, k=1) == 0.5
    assert recall_at(image, text, k=4) == 1.0


def test_a_model_that_says_the_same_of_all_images_finds_none() -> None:
    same = np.ones((4, 2), dtype=np.float32)
    assert recall_at(same, same[:, None], k=3) == 0
    assert recall_at(same * np.nan, same[:, None], k=3) == 0
