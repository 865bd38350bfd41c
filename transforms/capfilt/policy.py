"""Which models caption and match, and how: their settings and their identity, without torch."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, StrictFloat, StrictInt, model_validator

from schemas.fingerprint import Json
from transforms.hub.policy import ModelPolicy, model_files
from transforms.score.policy import ClipPolicy

# Where a model runs is no part of what it says. Nor is what shares the batch of an fp32 captioner.
PROMPTS = {
    "en": "Say in one short sentence what this picture shows.",
    "zh": "请用一句简短的中文说明这张图片的内容。",
}
_SENTENCE = 60  # tokens, enough for what PROMPTS ask
_ELSEWHERE = {"device", "concurrency", "timeout_s", "retries", "api_key_env"}


class CaptionerPolicy(ModelPolicy, frozen=True):
    """A model that writes candidate captions. Defaults are BLIP's nucleus sampling."""

    backend: Literal["blip", "blip2", "git", "chat", "endpoint"] = Field(
        default="blip",
        description="chat: any image-text-to-text model of transformers with a chat template;"
        " endpoint: a server that speaks OpenAI's chat completions.",
    )
    candidates: StrictInt = Field(default=1, ge=1, le=64, description="Captions of each image.")
    decoding: Literal["nucleus", "beam", "greedy"] = Field(
        default="nucleus", description="Only nucleus sampling gives several candidates."
    )
    top_p: StrictFloat = Field(
        default=0.9, gt=0, le=1, description="Probability that the nucleus of tokens reaches."
    )
    temperature: StrictFloat = Field(
        default=1.0, gt=0, le=10, description="What logits are divided by."
    )
    repetition_penalty: StrictFloat = Field(
        default=1.1, ge=1, le=10, description="Of tokens that a caption has already; 1: none."
    )
    beams: StrictInt = Field(default=3, ge=1, le=64, description="With `decoding: beam`.")
    min_tokens: StrictInt = Field(default=5, ge=0, description="Least new tokens.")
    max_tokens: StrictInt = Field(
        default=20,
        ge=1,
        le=4096,
        description=f"Most new tokens; {_SENTENCE} unless said for chat and endpoint.",
    )
    seed: StrictInt = Field(
        default=0, ge=0, lt=2**63, description="Drawn on with each picture's bytes."
    )
    prompt: str | None = Field(
        default=None,
        description="What a caption starts with (blip, git), which is then cut off; what is asked"
        " of the model (blip2, chat, endpoint).",
    )
    language: Literal["en", "zh"] = Field(
        default="en", description="Of the captions; zh where the model can: chat and endpoint."
    )
    url: str | None = Field(default=None, min_length=1, description="Of an endpoint, up to /v1.")
    api_key_env: str | None = Field(
        default=None, description="The environment variable that holds an endpoint's key."
    )
    concurrency: StrictInt = Field(default=8, ge=1, le=256, description="Requests under way.")
    timeout_s: StrictFloat = Field(
        default=60.0, gt=0, le=86_400, description="Of one request, whole, each time it is tried."
    )
    retries: StrictInt = Field(default=3, ge=0, le=20, description="Of a request that failed.")

    @property
    def served(self) -> bool:
        return self.backend == "endpoint"

    @model_validator(mode="before")
    @classmethod
    def _with_room_for_a_sentence(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("backend") in ("chat", "endpoint"):
            return {"max_tokens": _SENTENCE, **given}
        return given

    @model_validator(mode="after")
    def _fits_backend(self) -> Self:
        if self.candidates > 1 and self.decoding != "nucleus":
            raise ValueError("only `decoding: nucleus` gives several candidates")
        if self.min_tokens > self.max_tokens:
            raise ValueError("min_tokens is over max_tokens")
        if self.language != "en" and self.backend not in ("chat", "endpoint"):
            raise ValueError(f"{self.backend} captions in English only")
        if (self.url is None) == (self.backend == "endpoint"):
            raise ValueError("`url` goes with backend endpoint, which needs it")
        if self.backend == "endpoint" and self.decoding == "beam":
            raise ValueError("an endpoint samples: no `decoding: beam`")
        return self


class ItmPolicy(ModelPolicy, frozen=True):
    """A model that says how probable it is that a text matches an image."""

    backend: Literal["blip", "blip2"] = Field(default="blip", description="Its architecture.")
    max_tokens: StrictInt = Field(default=35, ge=4, le=512, description="Longer texts are cut.")


class ClipTextsPolicy(BaseModel, extra="forbid", frozen=True):
    """The CLIP score of candidates, by a model whose image embeddings are there already."""

    clip: ClipPolicy


def model_identity(policy: CaptionerPolicy | ItmPolicy) -> dict[str, Json]:
    """What makes two models the same: settings, and for weights on this disk their sha256."""
    alike = isinstance(policy, CaptionerPolicy) and policy.precision == "fp32"
    batches = {"batch_size"} if alike else set()
    settings = policy.model_dump(exclude=_ELSEWHERE | batches, exclude_none=True)
    if isinstance(policy, CaptionerPolicy) and policy.backend in ("chat", "endpoint"):
        settings["prompt"] = question(policy)
    if (files := model_files(policy)) is not None:
        settings["model"] = files
    return settings


def question(policy: CaptionerPolicy) -> str:
    """What a chat model is asked beside the picture."""
    return PROMPTS[policy.language] if policy.prompt is None else policy.prompt
