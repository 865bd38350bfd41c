"""What a recipe says of dialogues: which, from what, by whom."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, StrictInt, model_validator

from schemas.dialogue import Kind, Language
from schemas.fingerprint import Json, file_sha256
from transforms.instruct.checks import CheckPolicy
from transforms.instruct.labels import Negatives
from transforms.instruct.template import KINDS as TEMPLATE_KINDS
from transforms.instruct.template import templates_sha256

Format = Literal["llava", "lavis", "sharegpt", "openai"]
PositiveShare = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveCount = Annotated[StrictInt, Field(gt=0)]

# Shares where a recipe names none. What is rare is rare because few images have boxes.
TEMPLATE_SHARES = {
    Kind.CONVERSATION: 30.0,
    Kind.SHORT_ANSWER: 30.0,
    Kind.YES_NO: 10.0,
    Kind.COUNTING: 10.0,
    Kind.REGION: 10.0,
    Kind.QUESTION: 10.0,
}


class InstructPolicy(BaseModel, extra="forbid", frozen=True):
    """Dialogues about the images that a decision keeps, as one corpus."""

    backend: Literal["template"] = Field(
        default="template", description="template: by rule, from captions, boxes and answers."
    )
    language: Language = Field(default="en", description="Of what is said.")
    shares: dict[Kind, PositiveShare] | None = Field(
        default=None, description="{kind: share of all dialogues}; any numbers, as 58 and 23."
    )
    counts: dict[Kind, PositiveCount] | None = Field(
        default=None, description="{kind: number of dialogues}, instead of shares."
    )
    per_image: StrictInt = Field(
        default=1, ge=1, le=100, description="Dialogues about one image at most."
    )
    annotations: Path | None = Field(
        default=None,
        description="JSON lines with a url or uid, and objects, questions or ocr_tokens.",
    )
    negatives: Negatives = Field(
        default="popular", description="What is asked for in vain by yes/no questions (POPE)."
    )
    checks: CheckPolicy = Field(default=CheckPolicy(), description="Limits of turns.")
    seed: StrictInt = Field(default=0, ge=0, lt=2**63)
    formats: tuple[Format, ...] = Field(
        default=("llava",), description="Files beside the shards, for trainers that read such."
    )
    samples_per_shard: StrictInt = Field(
        default=10_000, gt=0, description="Dialogues in a shard at most."
    )

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        if self.shares is not None and self.counts is not None:
            raise ValueError("name shares or counts, not both")
        for name in ("shares", "counts"):
            if getattr(self, name) == {}:
                raise ValueError(f"{name}: name at least one kind")
        if cannot := [kind.value for kind in self.kinds if kind not in TEMPLATE_KINDS]:
            can = ", ".join(TEMPLATE_KINDS)
            raise ValueError(
                f"the backend template cannot make {cannot[0]}, which no caption states: {can}"
            )
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that are wanted, in one order."""
        wanted = self.counts or self.shares or TEMPLATE_SHARES
        return tuple(kind for kind in Kind if kind in wanted)

    @property
    def weights(self) -> tuple[float, ...]:
        """The share or count of each of `kinds`."""
        wanted = self.counts or self.shares or TEMPLATE_SHARES
        return tuple(float(wanted[kind]) for kind in self.kinds)


def making_identity(policy: InstructPolicy) -> dict[str, Json]:
    """What makes two replies the same, besides what is known of their image."""
    return {
        "backend": policy.backend,
        "language": policy.language,
        "seed": policy.seed,
        "negatives": policy.negatives,
        "annotations": annotations_digest(policy),
        "templates": templates_sha256(),
    }


def planning_identity(policy: InstructPolicy) -> dict[str, Json]:
    """What decides which dialogues are made and kept."""
    settings = {"shares", "counts", "per_image", "seed", "checks"}
    return policy.model_dump(mode="json", include=settings)


def annotations_digest(policy: InstructPolicy) -> str | None:
    """sha256 of the file with boxes and answers."""
    return None if policy.annotations is None else file_sha256(policy.annotations)
