"""The WordPiece tokenizer of the pocket captioner and ITM, and the processor that goes with it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from torch import Tensor
from transformers import BertTokenizer, BlipImageProcessor, BlipProcessor

from pipelines.pocket.blip.shape import (
    DECODE,
    END,
    MASK,
    MAX_TOKENS,
    PAD,
    SPECIAL,
    START,
    UNKNOWN,
    VOCAB_SIZE,
)
from pipelines.pocket.model import MEAN, STD
from pipelines.pocket.views import VIEW_PX
from schemas.errors import BadInputError


def train_words(captions: Iterable[str]) -> BertTokenizer:
    """WordPiece over lower-cased words, with BLIP's mark for the start of a caption."""
    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(
        captions, vocab_size=VOCAB_SIZE, special_tokens=list(SPECIAL), show_progress=False
    )
    return BertTokenizer(
        vocab=trained.get_vocab(),
        do_lower_case=True,
        model_max_length=MAX_TOKENS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=START,
        sep_token=END,
        mask_token=MASK,
        bos_token=DECODE,
    )


def load_words(folder: Path) -> BertTokenizer:
    """The tokenizer of a model that was trained here.

    Raises: BadInputError: there is none."""
    if not (folder / "tokenizer.json").is_file():
        raise BadInputError(f"{folder}: no tokenizer is there to go on with")
    return BertTokenizer.from_pretrained(str(folder))


def processor_of(words: BertTokenizer) -> BlipProcessor:
    """Pictures are squashed to a square and scaled as in training."""
    size = {"height": VIEW_PX, "width": VIEW_PX}
    images = BlipImageProcessor(
        size=size, resample=3, image_mean=list(MEAN), image_std=list(STD), do_convert_rgb=True
    )
    return BlipProcessor(images, words)


def save_processor(words: BertTokenizer, folder: Path) -> None:
    """Write what transformers' BlipProcessor reads."""
    processor_of(words).save_pretrained(str(folder))


def token_ids(words: BertTokenizer, captions: Sequence[Sequence[str]], most: int) -> Tensor:
    """(N, K, L) ids from START to END, then PAD: the first `most` captions of each.

    Where one has fewer captions, they are taken again."""
    flat = [texts[k % len(texts)] for texts in captions for k in range(most)]
    ids = words(flat, padding="max_length", truncation=True, max_length=MAX_TOKENS)["input_ids"]
    return torch.tensor(ids).view(len(captions), most, -1)
