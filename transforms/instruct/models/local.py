"""Ask a model of transformers on this machine, by its own chat template."""

import base64
import functools
import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from schemas.errors import BadInputError
from transforms.chat.client import Reply
from transforms.hub.errors import ModelError
from transforms.hub.load import faults, load_model, load_processor
from transforms.hub.policy import ModelPolicy
from transforms.instruct.models.failures import Failures
from transforms.instruct.models.prompts import Message
from transforms.instruct.models.replies import Replies, request_digest
from transforms.instruct.models.requests import Request
from transforms.instruct.policy import InstructPolicy

# For templates that ask: else one puts in the day's date, and others let the model think aloud.
_TEMPLATE = {"date_string": "26 Jul 2024", "enable_thinking": False}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that several units of a process may share, one request at a time."""

    model: Any
    processor: Any
    lock: threading.Lock


@dataclass(frozen=True, slots=True)
class LocalAsker:
    """A loaded model, one request at a time, and the replies that it gave."""

    policy: InstructPolicy
    weights: ModelPolicy
    identity: str  # of the weights: another model's replies are others
    loaded: Loaded = field(repr=False)
    replies: Replies
    failures: Failures

    def reply(self, request: Request) -> Reply | None:
        """What the model says; None: it failed.

        Raises: OverBudgetError: the cap on requests; RunFailedError: it fails again and again."""
        sent = {**request.as_sent(self.policy), "model": self.identity}
        digest = request_digest(sent, request.image_sha256)
        with self.loaded.lock:
            said = self.replies.get(digest)
            if said is not None:
                return said
            ticket = self.replies.reserve(0.0, self.policy.budget)
            try:
                said = self._generate(request)
            except ModelError as err:
                self.replies.drop(ticket)
                self.failures.count(str(err))
                return None
            self.replies.put(ticket, digest, said, self.policy.budget)
            if said.fault is None:
                self.failures.forget()
            else:
                self.failures.count(f"{self.weights.model} gave {said.fault}.")
            return said

    def _generate(self, request: Request) -> Reply:
        with faults(), torch.inference_mode(), torch.random.fork_rng():
            torch.set_num_threads(self.weights.threads)
            torch.manual_seed(request.seed)
            inputs = self._inputs(request.messages)
            tokens = self.loaded.model.generate(
                **inputs,
                max_new_tokens=self.policy.max_tokens,
                do_sample=self.policy.temperature > 0,
                **({"temperature": self.policy.temperature} if self.policy.temperature else {}),
            )
            said = tokens[0, inputs["input_ids"].shape[1] :]
            is_cut = len(said) >= self.policy.max_tokens and not self._ends(said)
            text = _words(self.loaded.processor).decode(said, skip_special_tokens=True).strip()
        counts = {"tokens_in": inputs["input_ids"].shape[1], "tokens_out": len(said)}
        return Reply(text=text, is_cut=is_cut, **counts)

    def _inputs(self, messages: Sequence[Message]) -> Mapping[str, Any]:
        template = str(self.loaded.processor.chat_template)
        inputs = self.loaded.processor.apply_chat_template(
            [_for_template(message, self.loaded.processor) for message in messages],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            **{name: value for name, value in _TEMPLATE.items() if name in template},
        )
        return {name: self._placed(one) for name, one in inputs.items()}

    def _placed(self, values: torch.Tensor) -> torch.Tensor:
        kind = self.loaded.model.dtype if values.is_floating_point() else None
        return values.to(self.loaded.model.device, kind)

    def _ends(self, said: torch.Tensor) -> bool:
        ends = self.loaded.model.generation_config.eos_token_id
        return int(said[-1]) in (ends if isinstance(ends, list) else [ends])


@functools.lru_cache(maxsize=2)
def load_local(weights: ModelPolicy, *, sees: bool) -> Loaded:
    """The model and its processor; a model that sees pictures, or, if it need not, any that talks.

    Raises: BadInputError: it cannot be loaded, has no chat template, or sees no pictures."""
    processor = load_processor(weights)
    if getattr(processor, "chat_template", None) is None:
        raise BadInputError(f"The model {weights.model} has no chat template: it cannot be asked.")
    config = AutoConfig.from_pretrained(
        weights.model,
        revision=weights.revision or "main",
        trust_remote_code=weights.trust_remote_code,
    )
    sighted = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if sees and not sighted:
        raise BadInputError(f"The model {weights.model} sees no pictures: take source symbolic.")
    kind = AutoModelForImageTextToText if sighted else AutoModelForCausalLM
    model = load_model(kind, weights)
    if model.generation_config.pad_token_id is None:
        ends = model.generation_config.eos_token_id
        model.generation_config.pad_token_id = ends[0] if isinstance(ends, list) else ends
    return Loaded(model, processor, threading.Lock())


def _for_template(message: Message, processor: Any) -> Message:
    """As transformers' templates read it: pictures loaded; to a tokenizer plain text."""
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not hasattr(processor, "tokenizer"):
        return {"role": message["role"], "content": "".join(part["text"] for part in parts)}
    return {"role": message["role"], "content": [_part(part) for part in parts]}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    return {"type": "image", "image": Image.open(io.BytesIO(data)).convert("RGB")}


def _words(processor: Any) -> Any:
    return getattr(processor, "tokenizer", processor)
