"""open_clip called bare, by the best loop that could be written: preprocessing beside the model.

Encoded images are in memory before the clock starts, preprocessing is open_clip's own, texts are
cut to their batch's longest as Pairmill cuts them, and nothing is padded, checked or written.
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from transforms.score.ahead import ahead
from transforms.score.clip_model import encode_texts, text_length

Pair = tuple[bytes, str]  # an encoded image and its caption
Batch = tuple[torch.Tensor, torch.Tensor]  # pixels, tokens

_CORES = os.cpu_count() or 1
_BESIDE = sorted({1, 2, _CORES})  # workers: few leave the model its cores, a GPU wants many
WAYS = {
    "one after the other": ("none", 0),
    **{f"DataLoader, workers: {n}": ("processes", n) for n in _BESIDE},
    **{f"threads beside: {n}": ("threads", n) for n in _BESIDE},
}


@dataclass(frozen=True, slots=True)
class BareClip:
    """An open_clip model in evaluation mode with its own transform and tokenizer."""

    model: Any
    preprocess: Any
    tokenizer: Any
    device: str
    dtype: torch.dtype


class Batches(Dataset[Batch]):
    """Item n is batch n, preprocessed and tokenised."""

    def __init__(self, pairs: Sequence[Pair], size: int, clip: BareClip) -> None:
        self.cuts = [pairs[begin : begin + size] for begin in range(0, len(pairs), size)]
        self.preprocess, self.tokenizer, self.dtype = clip.preprocess, clip.tokenizer, clip.dtype

    def __len__(self) -> int:
        return len(self.cuts)

    def __getitem__(self, index: int) -> Batch:
        pictures = (Image.open(io.BytesIO(data)).convert("RGB") for data, _ in self.cuts[index])
        pixels = torch.stack([self.preprocess(picture) for picture in pictures])
        return pixels.to(self.dtype), self.tokenizer([text for _, text in self.cuts[index]])


def load_bare(architecture: str, checkpoint: str, precision: str, device: str) -> BareClip:
    """`precision` is fp32 or bf16: in both cases what Pairmill computes in."""
    import open_clip

    model, preprocess = open_clip.create_model_from_pretrained(  # pyright: ignore
        architecture,
        pretrained=checkpoint,
        device=device,
        precision="pure_bf16" if precision == "bf16" else "fp32",
    )
    tokenizer = open_clip.get_tokenizer(architecture)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if device != "cpu":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore
    return BareClip(model.eval(), preprocess, tokenizer, device, dtype)  # pyright: ignore


def run_bare(clip: BareClip, pairs: Sequence[Pair], size: int, way: str) -> torch.Tensor:
    """(N,) cosines, by one of WAYS."""
    found: list[torch.Tensor] = []
    with torch.inference_mode():
        for pixels, tokens in _batches(Batches(pairs, size, clip), *WAYS[way], clip.device):
            length = text_length(clip.model, tokens)
            pixels = pixels.to(clip.device, non_blocking=True)
            tokens = tokens.to(clip.device, non_blocking=True)
            images = clip.model.encode_image(pixels, normalize=True)
            found.append((images * encode_texts(clip.model, tokens, length)).sum(dim=-1))
        return torch.cat(found).float().cpu()


def _batches(source: Batches, kind: str, workers: int, device: str) -> Iterator[Batch]:
    if kind == "threads":
        return ahead(source.__getitem__, range(len(source)), workers=workers, depth=workers)
    pinned = device != "cpu"
    loader: Iterable[Batch] = DataLoader(
        source, batch_size=None, num_workers=workers, pin_memory=pinned
    )
    return iter(loader)
