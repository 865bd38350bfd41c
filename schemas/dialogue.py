"""The one dialogue type: turns about an image, what they came from, and how they can fail.

A dialogue has an id and a ledger line of its own; what becomes of it never changes the outcome of
the row whose image it is about.
"""

import json
from enum import StrEnum
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, Field

IMAGE_TOKEN = "<image>"  # stands for the image in a turn, as LLaVA's readers have it

Language = Literal["en", "zh"]


class Kind(StrEnum):
    """What a dialogue is for. The first three are LLaVA's (Liu et al. 2023)."""

    CONVERSATION = "conversation"  # several turns
    DETAIL = "detail"  # a detailed description
    REASONING = "reasoning"  # a question that takes more than seeing
    SHORT_ANSWER = "short_answer"  # VQA: a word or a phrase
    YES_NO = "yes_no"  # is a thing there (POPE)
    COUNTING = "counting"
    OCR = "ocr"  # what is written there
    REGION = "region"  # what is at a place, or where a thing is
    QUESTION = "question"  # the model asks
    CHAIN_OF_THOUGHT = "chain_of_thought"  # steps, then the answer


class Role(StrEnum):
    """Who speaks. Formats have their own words: human and gpt, user and assistant."""

    PERSON = "person"
    MODEL = "model"


class DialogueFault(StrEnum):
    """Why a dialogue is dropped: a closed vocabulary."""

    NO_REPLY = "no_reply"  # the model failed at it, after the last retry
    REFUSED = "refused"  # by the server: a content filter
    OVER_BUDGET = "over_budget"  # not asked for: the cap was reached
    UNPARSABLE = "unparsable"  # the reply does not have the form that was asked for
    WRONG_ROLES = "wrong_roles"  # roles do not alternate
    STARTS_WITH_MODEL = "starts_with_model"
    ENDS_WITH_PERSON = "ends_with_person"
    IMAGE_COUNT = "image_count"  # more or fewer <image> than images
    EMPTY_TURN = "empty_turn"
    LONG_TURN = "long_turn"
    REFUSAL = "refusal"  # the model refuses or apologises
    LEAKED_CONTEXT = "leaked_context"  # speaks of captions or boxes, or gives coordinates
    UNKNOWN_OBJECT = "unknown_object"  # names an object that neither captions nor boxes hold
    WRONG_COUNT = "wrong_count"  # contradicts the boxes
    WRONG_BOX = "wrong_box"  # gives coordinates that are no box's
    OTHER_LANGUAGE = "other_language"  # than the recipe wants
    REPEATED_QUESTION = "repeated_question"  # nearly that of an earlier turn about the image


class Turn(BaseModel, frozen=True, extra="forbid"):
    """What one side says at once."""

    role: Role
    text: str


class Making(BaseModel, frozen=True, extra="forbid"):
    """How a dialogue was made."""

    backend: str = Field(description="template, endpoint, batch or chat.")
    model: str = Field(description="The model's name; template: no model.")
    source: Literal["symbolic", "vision"] = Field(description="What the model was given.")
    prompt: str = Field(description="The prompts' name and version; of templates the kind.")
    prompt_sha256: str


class Dialogue(BaseModel, frozen=True, extra="forbid"):
    """Turns about the images of one row; the record that becomes KEY.json."""

    uid: str
    kind: Kind
    number: int = Field(ge=0, description="Of this kind, about this image.")
    language: Language
    images: int = Field(ge=0, description="How many images it is about; 0: text only.")
    turns: tuple[Turn, ...]
    made: Making

    @property
    def id(self) -> str:
        """uid-kind-n: its name in ledgers, and its key in shards."""
        return dialogue_id(self.uid, self.kind, self.number)

    def as_record(self) -> bytes:
        """KEY.json: the fields, and the id before them."""
        record = {"id": self.id, **self.model_dump(mode="json")}
        return json.dumps(record, ensure_ascii=False).encode()


def read_record(data: bytes) -> Dialogue:
    """What KEY.json holds. Raises: ValueError: it is no dialogue, or the id is not its own."""
    record = json.loads(data)
    key = record.pop("id", None) if isinstance(record, dict) else None
    dialogue = Dialogue.model_validate(record)
    if key != dialogue.id:
        raise ValueError(f"its id is {key!r}, not {dialogue.id}")
    return dialogue


def dialogue_id(uid: str, kind: str, number: int) -> str:
    """uid-kind-n. Kinds have underscores, never a dot or a dash."""
    return f"{uid}-{kind}-{number}"


DIALOGUE_LEDGER_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("uid", pa.string()),
        ("kind", pa.string()),  # a Kind
        ("number", pa.int32()),
        ("context", pa.string()),  # digest of what was known of the image
        ("kept", pa.bool_()),
        ("reason", pa.string()),  # a DialogueFault; null where kept
        ("detail", pa.string()),  # free text: what was found; null where kept
        ("repaired", pa.bool_()),  # asked once more, as the first reply had a fault
    ]
)
