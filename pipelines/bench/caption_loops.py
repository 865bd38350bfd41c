"""BLIP called bare, as it is written without Pairmill, and a model with seeded weights for both.

The loops are transformers' own: its processor, then `generate`. What they are asked for is what
Pairmill's policy asks for, so that for the same seed they write the same caption.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
)

from transforms.capfilt.policy import CaptionerPolicy

Pictures = Sequence[Image.Image]
Seeds = Sequence[Sequence[int]]  # of each picture's captions
Write = Callable[[Pictures, Seeds], list[list[str]]]  # as `caption` of `Captioner`

# Of an untrained model's logits. At 5 a nucleus of 0.9 holds some tens of 30,000 words, about as
# many as a trained captioner's; at 1 it would hold most of them.
_LOGITS_STD = 5.0
_NEVER = -1e4  # as a logit
_CLS, _SEP, _MASK, _UNK = 101, 102, 103, 100  # where BERT's vocabulary has them


def blip_base() -> BlipConfig:
    """BLIP-base at 384 px as published for captions: its text decoder has 12 heads, not the 8 that
    are transformers' default."""
    return BlipConfig(text_config={"num_attention_heads": 12})


def save_seeded(config: BlipConfig, folder: Path, seed: int = 0) -> Path:
    """Save a captioner with seeded random weights and a vocabulary of numbered words.

    Its captions say nothing, but differ from picture to picture, and hold no special token."""
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.normal_(std=weights[0].numel() ** -0.5)
        decoder: Any = model.text_decoder  # its words' embeddings give the logits too
        decoder.bert.embeddings.word_embeddings.weight.mul_(_LOGITS_STD)
        decoder.cls.predictions.bias[list(_special(config).values())] = _NEVER
    model.save_pretrained(str(folder))
    px = config.vision_config.image_size  # pyright: ignore
    processor = BlipProcessor(BlipImageProcessor(size={"height": px, "width": px}), _words(config))
    processor.save_pretrained(str(folder))
    return folder


def _special(config: BlipConfig) -> dict[str, int]:
    text: Any = config.text_config
    return {
        "[PAD]": text.pad_token_id,
        "[UNK]": _UNK,
        "[CLS]": _CLS,
        "[SEP]": _SEP,
        "[MASK]": _MASK,
        "[DEC]": text.bos_token_id,
    }


def _words(config: BlipConfig) -> BertTokenizer:
    text: Any = config.text_config
    words = {place: f"w{place}" for place in range(text.vocab_size)}
    words |= {place: name for name, place in _special(config).items()}
    return BertTokenizer(vocab={word: place for place, word in words.items()}, bos_token="[DEC]")


@dataclass(frozen=True, slots=True)
class BareBlip:
    """BLIP as transformers loads it, asked for what a policy of Pairmill's says."""

    model: Any
    processor: Any
    policy: CaptionerPolicy

    def one_at_a_time(self, pictures: Pictures, seeds: Seeds) -> list[list[str]]:
        """The documentation's loop: a caption for each seed of each picture, each on its own."""
        return [
            [self._write([picture], seed)[0] for seed in own]
            for picture, own in zip(pictures, seeds, strict=True)
        ]

    @torch.inference_mode()
    def in_batches(self, pictures: Pictures, seeds: Seeds) -> list[list[str]]:
        """As many captions of each picture as it has seeds. A batch has one seed, its first."""
        size, each = self.policy.batch_size, len(seeds[0])
        starts = range(0, len(pictures), size)
        written = [
            text
            for start in starts
            for text in self._write(
                pictures[start : start + size], seeds[start][0], num_return_sequences=each
            )
        ]
        return [written[n : n + each] for n in range(0, len(written), each)]

    def _write(self, pictures: Pictures, seed: int, **more: Any) -> list[str]:
        inputs = self.processor(images=list(pictures), return_tensors="pt")
        torch.manual_seed(seed)
        tokens = self.model.generate(
            pixel_values=inputs.pixel_values.to(self.model.device, self.model.dtype),
            do_sample=True,
            top_p=self.policy.top_p,
            top_k=0,  # else 50
            temperature=self.policy.temperature,
            repetition_penalty=self.policy.repetition_penalty,
            min_new_tokens=self.policy.min_tokens,
            max_new_tokens=self.policy.max_tokens,
            **more,
        )
        return self.processor.batch_decode(tokens, skip_special_tokens=True)


def load_bare(policy: CaptionerPolicy) -> BareBlip:
    """A model of its own, in the precision in which Pairmill holds it."""
    bf16 = policy.precision == "bf16"
    model = BlipForConditionalGeneration.from_pretrained(
        policy.model, dtype=torch.bfloat16 if bf16 else torch.float32
    )
    model = model.eval().to(policy.device)  # pyright: ignore
    if policy.precision == "int8":
        kinds = {torch.nn.Linear}
        model = torch.ao.quantization.quantize_dynamic(model, kinds, dtype=torch.qint8)
    return BareBlip(model, BlipProcessor.from_pretrained(policy.model), policy)
