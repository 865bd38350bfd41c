"""The captioning benchmark's mechanics, on a tiny model: nothing here is timed."""

from pathlib import Path

import pytest
import torch
from transformers import BlipConfig

from pipelines.bench import caption
from pipelines.bench.caption_loops import load_bare, save_seeded
from schemas.errors import RunFailedError
from transforms.capfilt.policy import CaptionerPolicy

SIDE_PX = 32
WORDS = 400


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    size["num_attention_heads"] = 4
    ends = {"vocab_size": WORDS, "bos_token_id": WORDS - 2, "sep_token_id": 102}
    config = BlipConfig(
        text_config={**size, **ends, "encoder_hidden_size": 32, "max_position_embeddings": 48},
        vision_config={**size, "image_size": SIDE_PX, "patch_size": 8},
    )
    return save_seeded(config, tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other take minutes where the machine has other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def bare(model: Path):
    return load_bare(_policy(model))


def _policy(model: Path) -> CaptionerPolicy:
    tokens = {"min_tokens": caption.TOKENS, "max_tokens": caption.TOKENS}
    return CaptionerPolicy.model_validate({"model": str(model), "batch_size": 2, **tokens})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor")
@pytest.mark.slow
def test_every_contestant_gives_figures(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption, "MANY", 3)
    monkeypatch.setattr(caption, "PAIRS", 7)  # 4 of the rounds, 3 of the further candidates
    marks = {m.name: m for m in caption.compete(model, caption.drawn(2, SIDE_PX), 2, threads=1)}
    speeds = [mark.value for name, mark in marks.items() if name.endswith("images/s")]
    assert len(speeds) >= 8
    assert min(speeds) > 0
    held = {mark.mark for mark in marks.values() if mark.mark is not None}
    assert held == {2.5, 0.95, 3.0, 0.99}
    alike = next(m for name, m in marks.items() if "equal to the documented" in name)
    assert alike.value >= 0.99
    assert alike.name.endswith("of 7")


def test_captions_differ_by_picture_and_by_seed_and_are_of_one_length(bare) -> None:
    pictures = caption.drawn(4, SIDE_PX)
    found = bare.one_at_a_time(pictures, [[1, 2]] * 4)
    assert len({own[0] for own in found}) > 2
    assert all(first != second for first, second in found)
    assert {len(text.split()) for own in found for text in own} == {caption.TOKENS}


def test_bare_batches_keep_each_pictures_captions_together(
    bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = caption.drawn(3, SIDE_PX)
    monkeypatch.setattr(
        type(bare),
        "_write",
        lambda _self, some, seed, num_return_sequences: [
            f"{pictures.index(picture)} {number} {seed}"
            for picture in some
            for number in range(num_return_sequences)
        ],
    )
    found = bare.in_batches(pictures, [[5, 6], [7, 8], [9, 10]])
    assert found == [["0 0 5", "0 1 5"], ["1 0 5", "1 1 5"], ["2 0 9", "2 1 9"]]


def test_a_caption_that_ends_early_ends_the_benchmark() -> None:
    turns = caption.Turns(lambda pictures, _: [["w1 w2"]] * len(pictures), caption.drawn(1, 8))
    with pytest.raises(RunFailedError, match=r"Captions of \[2\] tokens"):
        turns.run()
    assert turns.told == []


def test_each_round_has_seeds_of_its_own_and_ten_begin_with_the_one() -> None:
    pictures = caption.drawn(2, 8)
    one, ten = (caption.Turns(lambda *_: [], pictures, each) for each in (1, caption.MANY))
    assert one.seeds(0) != one.seeds(1)
    assert [own[:1] for own in ten.seeds(1)] == one.seeds(1)
