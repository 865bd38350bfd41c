"""The BLIP captioner and the BLIP filter, by transformers' own classes."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval
from transformers.generation import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
)

from schemas.errors import BadInputError
from transforms.capfilt.blip_decoder import read_on, start_reading
from transforms.capfilt.blip_vision import Sight, see
from transforms.capfilt.flat import match_flat
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy
from transforms.capfilt.sampling import Draws, nucleus
from transforms.hub.load import faults, load_model, load_processor
from transforms.hub.policy import ModelPolicy


@dataclass(frozen=True, slots=True)
class BlipCaptioner:
    """A loaded BLIP captioner. `caption` is that of `Captioner`."""

    policy: CaptionerPolicy
    model: Any  # a BlipForConditionalGeneration
    processor: Any
    see: Sight = see

    @torch.inference_mode()
    def caption(
        self, images: Sequence[Image.Image], seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        with faults():
            torch.set_num_threads(self.policy.threads)
            pixels = self._pixels(images)
            if self.policy.decoding == "beam":
                tokens = self._by_beams(pixels)
            else:
                tokens = self._by_tokens(pixels, seeds)
            texts = self.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        texts = [_without(self.policy.prompt, text) for text in texts]
        each = len(texts) // len(images)
        return [texts[n : n + each] for n in range(0, len(texts), each)]

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        found = self.processor.image_processor(list(images), return_tensors="pt").pixel_values
        return found.to(self.policy.device, self.model.vision_model.dtype)

    @property
    def prompt_tokens(self) -> int:
        """How many tokens stand before a caption."""
        return len(self._prompt())

    def _prompt(self) -> list[int]:
        """DEC, and what a caption is to start with."""
        bos = self.model.config.text_config.bos_token_id
        said = self.processor.tokenizer(self.policy.prompt or "", add_special_tokens=False)
        return [bos, *said.input_ids]

    def _by_beams(self, pixels: Tensor) -> Tensor:
        end = self.model.config.text_config.sep_token_id
        prompt = torch.tensor([[*self._prompt(), end]] * len(pixels), device=pixels.device)
        return self.model.generate(
            pixel_values=pixels,
            input_ids=prompt,  # the model takes the end off again
            num_beams=self.policy.beams,
            do_sample=False,
            repetition_penalty=self.policy.repetition_penalty,
            min_new_tokens=self.policy.min_tokens,
            max_new_tokens=self.policy.max_tokens,
        )

    def _by_tokens(self, pixels: Tensor, seeds: Sequence[Sequence[int]]) -> Tensor:
        """(images x seeds, tokens), image by image, drawn or likeliest token by token."""
        decoder, flat = self.model.text_decoder, [seed for own in seeds for seed in own]
        prompt, seen = self._prompt(), self.see(self.model.vision_model, pixels)
        reading = start_reading(
            decoder, seen, len(flat) // len(pixels), len(prompt) + self.policy.max_tokens
        )
        tokens = torch.tensor([prompt] * len(flat), device=pixels.device)
        for place in range(len(prompt) - 1):
            read_on(decoder, reading, tokens[:, place])
        rule_out, choose = self._rules(len(prompt), pixels.device), self._chooser(flat)
        end, pad = (decoder.config.sep_token_id, decoder.config.pad_token_id)
        ended = torch.zeros(len(flat), dtype=torch.bool, device=pixels.device)
        for _ in range(self.policy.max_tokens):
            logits = read_on(decoder, reading, tokens[:, -1]).float()
            chosen = choose(rule_out(tokens, logits)).masked_fill(ended, pad)
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
            ended |= chosen == end
            if ended.all():
                break
        return tokens

    def _rules(self, prompt: int, device: torch.device) -> LogitsProcessorList:
        """transformers' own, in the order in which its `generate` applies them."""
        end, policy = self.model.config.text_config.sep_token_id, self.policy
        return LogitsProcessorList(
            [
                RepetitionPenaltyLogitsProcessor(policy.repetition_penalty),
                MinNewTokensLengthLogitsProcessor(
                    prompt, policy.min_tokens, end, device=str(device)
                ),
                TemperatureLogitsWarper(policy.temperature),
            ]
        )

    def _chooser(self, seeds: Sequence[int]):
        if self.policy.decoding == "greedy":
            return lambda logits: logits.argmax(dim=-1)
        draws = Draws(seeds)
        return lambda logits: draws.draw(*nucleus(logits, self.policy.top_p), logits.shape[-1])


@dataclass(frozen=True, slots=True)
class BlipMatcher:
    """A loaded BLIP retrieval model with its ITM head. `match` is that of `Matcher`."""

    policy: ItmPolicy
    model: Any  # a BlipForImageTextRetrieval
    processor: Any
    see: Sight = see

    @torch.inference_mode()
    def match(
        self, images: Sequence[Image.Image], texts: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        with faults():
            torch.set_num_threads(self.policy.threads)
            found = self.processor.image_processor(list(images), return_tensors="pt").pixel_values
            seen = self.see(self.model.vision_model, found.to(self.policy.device, self._dtype))
            match = functools.partial(self._match, seen)
            return match_flat(texts, self.policy.batch_size, match)

    @property
    def _dtype(self) -> torch.dtype:
        return self.model.vision_model.dtype

    def _match(self, seen: Tensor, owners: list[int], texts: list[str]) -> list[float]:
        """The text encoder reads an image's tokens beside each text: softmax(logits)[1]."""
        words = self.processor.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.policy.max_tokens,
            return_tensors="pt",
        ).to(self.policy.device)
        read = self.model.text_encoder(
            input_ids=words.input_ids,
            attention_mask=words.attention_mask,
            encoder_hidden_states=seen[owners],
        )
        return self.model.itm_head(read.last_hidden_state[:, 0]).float().softmax(-1)[:, 1].tolist()


def load_blip_captioner(policy: CaptionerPolicy) -> BlipCaptioner:
    """Raises: BadInputError: there is no such model, its weights do not fit, or it cannot write as
    many tokens."""
    model = load_model(BlipForConditionalGeneration, policy)
    loaded = BlipCaptioner(policy, model, load_processor(policy), _sight(policy))
    room = model.config.text_config.max_position_embeddings - loaded.prompt_tokens
    if policy.max_tokens > room:
        raise BadInputError(
            f"The model {policy.model} has room for {room} new tokens: max_tokens is"
            f" {policy.max_tokens}."
        )
    return loaded


def load_blip_matcher(policy: ItmPolicy) -> BlipMatcher:
    """Raises: BadInputError: there is no such model, or its weights do not fit."""
    model = load_model(BlipForImageTextRetrieval, policy)
    return BlipMatcher(policy, model, load_processor(policy), _sight(policy))


def _sight(policy: ModelPolicy) -> Sight:
    """What stands in for the vision model's own forward, compiled where that is asked for."""
    return torch.compile(see) if policy.compile else see


def _without(prompt: str | None, text: str) -> str:
    """The caption alone: a tokenizer may have changed the prompt's case."""
    text = " ".join(text.split())
    start = " ".join((prompt or "").lower().split())
    begins = text.lower().startswith(start) and not text[len(start) : len(start) + 1].isalnum()
    return text[len(start) :].strip() if start and begins else text
