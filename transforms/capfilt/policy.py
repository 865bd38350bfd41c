"""Which models caption and match, and how: their settings and their identity, without torch."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, model_validator

from schemas.fingerprint import Json, file_sha256, fingerprint
from transforms.score.policy import ClipPolicy

# What transformers may read from a model's folder: configuration, weights, tokenizer, templates.
MODEL_FILES = frozenset({".json", ".safetensors", ".bin", ".pth", ".txt", ".model", ".jinja"})
WEIGHTS = frozenset({".safetensors", ".bin", ".pth"})
# Where a model runs is no part of what it says. Nor is what shares the batch of an fp32 captioner.
PROMPTS = {
    "en": "Say in one short sentence what this picture shows.",
    "zh": "请用一句简短的中文说明这张图片的内容。",
}
_SENTENCE = 60  # tokens, enough for what PROMPTS ask
_ELSEWHERE = {"device", "concurrency", "timeout_s", "retries", "api_key_env"}


class ModelPolicy(BaseModel, extra="forbid", frozen=True):
    """What captioners and filters have in common: weights, and how they are held and run."""

    model: str = Field(
        ...,
        min_length=1,
        description="A name on the model hub, a folder, or `pocket`, which ships with Pairmill.",
    )
    revision: str | None = Field(default=None, description="Of the hub's model; part of it.")
    batch_size: StrictInt = Field(default=8, ge=1, le=4096, description="Images in a batch.")
    threads: StrictInt = Field(
        default=1, ge=1, le=1024, description="Torch threads of a worker; part of the numbers."
    )
    device: str = Field(default="cpu", min_length=1, description="torch's name of the device.")
    precision: Literal["fp32", "bf16", "int8", "8bit", "4bit"] = Field(
        default="fp32",
        description="int8: dynamic, of linear layers on a CPU; 8bit and 4bit: bitsandbytes, on a"
        " GPU. Part of the numbers.",
    )
    compile: StrictBool = Field(default=False, description="torch.compile; slow to start.")
    trust_remote_code: StrictBool = Field(
        default=False, description="Run code that comes with a hub's model. Never on by itself."
    )

    @model_validator(mode="after")
    def _fits_device(self) -> Self:
        on_cpu = self.device.partition(":")[0] == "cpu"
        if self.precision == "int8" and not on_cpu:
            raise ValueError("precision int8 is for a CPU; on a GPU take 8bit or 4bit")
        if self.precision in ("8bit", "4bit") and on_cpu:
            raise ValueError(f"precision {self.precision} is for a GPU; on a CPU take int8")
        return self


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
    if (folder := model_folder(policy)) is not None:
        settings["model"] = _files(folder, code=policy.trust_remote_code)
    return settings


def model_folder(policy: ModelPolicy) -> Path | None:
    """The folder that a model is read from; None for a hub's name, and for a server's, whatever
    lies about here."""
    served = isinstance(policy, CaptionerPolicy) and policy.backend == "endpoint"
    folder = Path(policy.model)
    return folder if folder.is_dir() and not served else None


def question(policy: CaptionerPolicy) -> str:
    """What a chat model is asked beside the picture."""
    return PROMPTS[policy.language] if policy.prompt is None else policy.prompt


def model_digest(policy: ModelPolicy) -> str | None:
    """One sha256 over the files of a model's folder; none for a hub's name or a server's."""
    folder = model_folder(policy)
    if folder is None:
        return None
    return fingerprint(_files(folder, code=policy.trust_remote_code))


def _files(folder: Path, *, code: bool) -> dict[str, Json]:
    endings = {*MODEL_FILES, ".py"} if code else MODEL_FILES
    files = sorted(path for path in folder.glob("*") if path.suffix in endings)
    return {path.name: file_sha256(path) for path in files}


def weight_digests(policy: ModelPolicy) -> frozenset[str]:
    """sha256 of each file of weights in a model's folder; none for a hub's name."""
    folder = model_folder(policy)
    if folder is None:
        return frozenset()
    return frozenset(file_sha256(path) for path in folder.glob("*") if path.suffix in WEIGHTS)
