from pathlib import Path

import pytest
import torch

from pipelines.pocket.model import build_model, encode_texts, load_model
from pipelines.pocket.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, train_tokenizer

SAID = ["a dog runs on the grass", "A red ball, on a table.", "two dogs play with a ball"]


def test_a_caption_is_framed_and_padded() -> None:
    ids = train_tokenizer(SAID, vocab_size=300, context_length=12).encode("a dog").ids
    end = ids.index(EOS_ID)
    assert ids[0] == BOS_ID
    assert set(ids[end + 1 :]) == {PAD_ID}
    assert len(ids) == 12


def test_case_and_punctuation_do_not_matter() -> None:
    tokenizer = train_tokenizer(SAID, vocab_size=300, context_length=12)
    assert tokenizer.encode("A dog , runs .").ids == tokenizer.encode("a dog runs").ids


@pytest.mark.parametrize("text", ["word " * 100, "狗在草地上跑" * 5, ""])
def test_any_text_ends_with_the_end_mark(text: str) -> None:
    ids = train_tokenizer(SAID, vocab_size=300, context_length=12).encode(text).ids
    assert ids.count(EOS_ID) == 1
    assert UNK_ID not in ids
    assert len(ids) == 12


def test_open_clips_tokenizer_gives_the_same_ids(pocket_clip: Path) -> None:
    _, _, tokenizer = load_model(pocket_clip)
    ids = tokenizer(["a red circle to the left of a blue square", "word " * 100])
    assert ids.shape == (2, 32)
    assert ids[0, 0] == BOS_ID
    assert (ids == EOS_ID).sum(dim=1).tolist() == [1, 1]
    assert ids[1, -1] == EOS_ID  # a long caption is cut before its end mark


def test_texts_are_pooled_at_the_end_mark_whatever_the_padding() -> None:
    model = build_model().eval()
    tokens = torch.full((2, 32), PAD_ID)
    tokens[0, :4] = torch.tensor([BOS_ID, 50, 60, EOS_ID])
    tokens[1, :7] = torch.tensor([BOS_ID, 50, 60, 70, 80, 90, EOS_ID])
    with torch.inference_mode():
        ours, theirs = encode_texts(model, tokens), model.encode_text(tokens, normalize=True)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
