"""BLIP-2, GIT and chat models as captioners, all through `generate` of transformers.

A caption drawn here is the one that `torch.manual_seed(seed)` and the model's own sampling give for
that picture alone. The vision tower sees a picture once, whatever the number of its candidates:
BLIP-2 and most chat models repeat what it saw by themselves, for the others `seen_once` does.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForImageTextToText,
    Blip2ForConditionalGeneration,
    GenerationConfig,
    GitForCausalLM,
)
from transformers.generation import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from schemas.errors import BadInputError
from transforms.capfilt.policy import CaptionerPolicy, question
from transforms.capfilt.sampling import DrawnToken, Draws
from transforms.hub.load import faults, load_model, load_processor, vision_towers

Inputs = dict[str, Tensor]
Prepare = Callable[[Sequence[Image.Image]], Mapping[str, Any]]

# Which tokens begin, end and pad. What else a model's folder says of generation (Qwen2-VL's has
# temperature 0.01) would silently change what the recipe asks for.
TOKENS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
)
# For templates that ask: else one puts in the day's date, and others let the model think aloud.
TEMPLATE = {"date_string": "26 Jul 2024", "enable_thinking": False}


@dataclass(frozen=True, slots=True)
class Generator:
    """A loaded model with a `generate`. `caption` is that of `Captioner`."""

    policy: CaptionerPolicy
    model: Any
    processor: Any
    prepare: Prepare

    @torch.inference_mode()
    def caption(
        self, images: Sequence[Image.Image], seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        drawn, each = self.policy.decoding == "nucleus", len(seeds[0])
        times = each if drawn else self.policy.beams if self.policy.decoding == "beam" else 1
        with faults():
            torch.set_num_threads(self.policy.threads)
            inputs = _to_model(self.prepare(images), self.model)
            with seen_once(self.model, len(images), times):
                tokens = self.model.generate(**inputs, **decoding(self.policy, seeds))
            answers = _answers(tokens, inputs["input_ids"])
            texts = self.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        texts = [" ".join(text.split()) for text in texts]
        each = len(texts) // len(images)
        return [texts[n : n + each] for n in range(0, len(texts), each)]


def load_generator(policy: CaptionerPolicy) -> Generator:
    """The captioner of a policy whose backend is blip2, git or chat.

    Raises: BadInputError: there is no such model, its weights do not fit, or it lacks what its
        backend needs."""
    load = {"blip2": _load_blip2, "git": _load_git, "chat": _load_chat}
    return load[policy.backend](policy)


def decoding(policy: CaptionerPolicy, seeds: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What `generate` is told. Sampling leaves it nothing to draw: `DrawnToken` comes last and
    rules out all tokens but one."""
    asked: dict[str, Any] = {
        "repetition_penalty": policy.repetition_penalty,
        "min_new_tokens": policy.min_tokens,
        "max_new_tokens": policy.max_tokens,
    }
    if policy.decoding == "beam":
        return {**asked, "do_sample": False, "num_beams": policy.beams}
    if policy.decoding == "greedy":
        return {**asked, "do_sample": False, "num_beams": 1}
    return {
        **asked,
        "do_sample": True,  # only so does `generate` return several sequences without beams
        "num_return_sequences": len(seeds[0]),
        # Its own warpers would come after what is passed to it.
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "logits_processor": _warpers(policy, [seed for own in seeds for seed in own]),
    }


@contextlib.contextmanager
def seen_once(model: nn.Module, images: int, times: int) -> Iterator[None]:
    """Let vision towers see one row of an image where `generate` hands on `times` equal ones.

    Models that take `mm_encoder_outputs` encode before they repeat and need no help."""
    helped = times > 1 and "mm_encoder_outputs" not in inspect.signature(model.forward).parameters
    rows = images * times

    def thin(_tower: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return _each(args, rows, lambda x: x[::times]), _each(kwargs, rows, lambda x: x[::times])

    def widen(_tower: nn.Module, _args: Any, seen: Any) -> Any:
        return _each(seen, images, lambda x: x.repeat_interleave(times, dim=0))

    with contextlib.ExitStack() as hooks:
        for tower in vision_towers(model) if helped else []:
            before = tower.register_forward_pre_hook(thin, with_kwargs=True)
            hooks.callback(before.remove)
            hooks.callback(tower.register_forward_hook(widen).remove)
        yield


def _each(found: Any, rows: int, change: Callable[[Tensor], Tensor]) -> Any:
    """Change every tensor of so many rows in what a tower is given or gives."""
    if isinstance(found, Tensor):
        return change(found) if found.ndim and len(found) == rows else found
    if isinstance(found, Mapping):  # transformers' outputs are mappings too
        return type(found)(**{name: _each(one, rows, change) for name, one in found.items()})
    if isinstance(found, tuple | list):
        return type(found)(_each(one, rows, change) for one in found)
    return found


def _load_blip2(policy: CaptionerPolicy) -> Generator:
    model = load_model(Blip2ForConditionalGeneration, policy)
    if model.config.image_token_index is None:
        raise BadInputError(
            f"The model {policy.model} does not say which token stands for the image: its"
            " config.json lacks image_token_index, as old copies of BLIP-2 do."
        )
    processor, words = load_processor(policy), model.config.text_config
    begin = getattr(words, "bos_token_id", None)  # Flan-T5 may have none; its end does then
    start = [words.eos_token_id if begin is None else begin]
    if policy.prompt is not None:
        start = processor.tokenizer(policy.prompt).input_ids
    start = [model.config.image_token_index] * model.config.num_query_tokens + start
    _forget_sampling(model.language_model)  # whose `generate` it is that runs
    return Generator(policy, model, processor, functools.partial(_started, processor, start))


def _load_git(policy: CaptionerPolicy) -> Generator:
    model, processor = load_model(GitForCausalLM, policy), load_processor(policy)
    said = processor.tokenizer(policy.prompt or "", add_special_tokens=False).input_ids
    start = [processor.tokenizer.cls_token_id, *said]
    _forget_sampling(model)
    return Generator(policy, model, processor, functools.partial(_started, processor, start))


def _load_chat(policy: CaptionerPolicy) -> Generator:
    model, processor = load_model(AutoModelForImageTextToText, policy), load_processor(policy)
    if getattr(processor, "chat_template", None) is None:
        raise BadInputError(f"The model {policy.model} has no chat template: backend chat is out.")
    processor.tokenizer.padding_side = "left"  # captions go on where prompts end
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    _forget_sampling(model)
    return Generator(policy, model, processor, functools.partial(_asked, processor, policy))


def _started(processor: Any, start: Sequence[int], images: Sequence[Image.Image]) -> Inputs:
    """Each picture with the same first tokens, so nothing is padded."""
    tokens = torch.tensor([list(start)] * len(images))
    pixels = processor.image_processor(list(images), return_tensors="pt").pixel_values
    return {"pixel_values": pixels, "input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def _asked(
    processor: Any, policy: CaptionerPolicy, images: Sequence[Image.Image]
) -> Mapping[str, Any]:
    """Each picture with the question, by the model's own template, padded on the left."""
    text = {"type": "text", "text": question(policy)}
    talks = [
        [{"role": "user", "content": [{"type": "image", "image": image}, text]}] for image in images
    ]
    template = str(processor.chat_template)
    return processor.apply_chat_template(
        talks,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
        **{name: value for name, value in TEMPLATE.items() if name in template},
    )


def _warpers(policy: CaptionerPolicy, seeds: Sequence[int]) -> LogitsProcessorList:
    """transformers' own, in the order in which its `generate` applies them; then the draw."""
    own: list[LogitsProcessor] = []
    if policy.temperature != 1.0:
        own.append(TemperatureLogitsWarper(policy.temperature))
    if policy.top_p < 1.0:
        own.append(TopPLogitsWarper(policy.top_p))
    return LogitsProcessorList([*own, DrawnToken(Draws(seeds))])


def _answers(tokens: Tensor, prompt: Tensor) -> Tensor:
    """What was generated after the prompt, which decoders repeat and encoder-decoders do not."""
    length = prompt.shape[1]
    repeated = prompt.repeat_interleave(len(tokens) // len(prompt), dim=0)
    return tokens[:, length:] if torch.equal(tokens[:, :length], repeated) else tokens


def _to_model(inputs: Mapping[str, Any], model: Any) -> Inputs:
    """On the model's device; numbers that are no indices in its precision."""
    return {
        name: one.to(model.device, model.dtype if one.is_floating_point() else None)
        for name, one in inputs.items()
        if isinstance(one, Tensor)
    }


def _forget_sampling(model: Any) -> None:
    own = {name: getattr(model.generation_config, name, None) for name in TOKENS}
    kept = GenerationConfig(**{name: token for name, token in own.items() if token is not None})
    if kept.pad_token_id is None:  # pyright: ignore[reportAttributeAccessIssue]
        ends = own["eos_token_id"]
        kept.pad_token_id = ends[0] if isinstance(ends, list) else ends
    model.generation_config = kept
