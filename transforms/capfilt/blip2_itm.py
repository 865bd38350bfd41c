"""BLIP-2's image-text matching head as a filter, an image encoded once for all its texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import Blip2ForImageTextRetrieval

from transforms.capfilt.flat import match_flat
from transforms.capfilt.policy import ItmPolicy
from transforms.hub.load import faults, load_model, load_processor


@dataclass(frozen=True, slots=True)
class Blip2Matcher:
    """A loaded BLIP-2 retrieval model. `match` is that of `Matcher`."""

    policy: ItmPolicy
    model: Any
    processor: Any

    @torch.inference_mode()
    def match(
        self, images: Sequence[Image.Image], texts: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        with faults():
            torch.set_num_threads(self.policy.threads)
            seen = self._see(images)
            return match_flat(
                texts,
                self.policy.batch_size,
                lambda owners, some: self._match(seen[owners], some),
            )

    def _see(self, images: Sequence[Image.Image]) -> Tensor:
        """(images, patches, D)"""
        pixels = self.processor.image_processor(list(images), return_tensors="pt").pixel_values
        tower = self.model.vision_model
        return tower(pixels.to(self.policy.device, tower.dtype)).last_hidden_state

    def _match(self, seen: Tensor, texts: list[str]) -> list[float]:
        """The Q-Former reads an image's patches beside each text: softmax(logits)[1].

        As Blip2ForImageTextRetrieval's own forward, but for its vision tower.

        Args: seen: (texts, patches, D)."""
        words = self.processor.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.policy.max_tokens,
            return_tensors="pt",
        ).to(self.policy.device)
        model = self.model
        queries = model.query_tokens.expand(len(texts), -1, -1)
        asked = torch.ones(queries.shape[:2], dtype=torch.long, device=queries.device)
        read = model.qformer(
            query_embeds=model.embeddings(input_ids=words.input_ids, query_embeds=queries),
            query_length=queries.shape[1],
            attention_mask=torch.cat([asked, words.attention_mask], dim=1),
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], device=seen.device),
        ).last_hidden_state[:, : queries.shape[1]]
        logits = model.itm_head(read.to(seen.dtype)).mean(dim=1)
        return logits.float().softmax(dim=-1)[:, 1].tolist()


def load_blip2_matcher(policy: ItmPolicy) -> Blip2Matcher:
    """Raises: BadInputError: there is no such model, or its weights do not fit."""
    return Blip2Matcher(
        policy=policy,
        model=load_model(Blip2ForImageTextRetrieval, policy),
        processor=load_processor(policy),
    )
