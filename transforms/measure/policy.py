"""What can be measured, beside CLIP and languages: settings without torch."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, StrictBool, StrictInt


class TextPolicy(BaseModel, extra="forbid", frozen=True):
    """Facts of each caption: `transforms.measure.text.TEXT_SCHEMA` has the columns."""


class ImagePolicy(BaseModel, extra="forbid", frozen=True):
    """Facts of each picture as the pool holds it: `transforms.measure.image.IMAGE_SCHEMA`."""

    text_detector: str | None = Field(
        default=None,
        description="FILE.py:FUNCTION or MODULE:FUNCTION from a picture to boxes of text (x0, y0,"
        " x1, y1) in px; gives the column text_overlap.",
    )


class ImageHashPolicy(BaseModel, extra="forbid", frozen=True):
    """By these equal and similar pictures are recognised: `pixels`, a sha256, `phash`, 64 bits."""


class PdqPolicy(BaseModel, extra="forbid", frozen=True):
    """Column `hash`: ThreatExchange's perceptual hash PDQ, 256 bits."""


class CaptionHashPolicy(BaseModel, extra="forbid", frozen=True):
    """By these equal captions are recognised, alone and with the URL (`url_and_caption`)."""


class HeadPolicy(BaseModel, extra="forbid", frozen=True):
    """A linear head on the image embeddings of a CLIP model, as LAION's aesthetic model is."""

    file: Path = Field(..., description="A .safetensors or .pth file; loaded weights-only.")
    clip: str = Field(..., description="A name under `clip`: the model whose embeddings it reads.")
    between: Literal["nothing"] | None = Field(
        default=None, description="Must be said of a file with several layers."
    )
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        default="none", description="What follows the last layer; softmax gives the last class."
    )


class ConceptsPolicy(BaseModel, extra="forbid", frozen=True):
    """Which entries of a list a caption names, matched as MetaCLIP does."""

    list: Path = Field(..., description="The entries: a JSON list of strings, or one a line.")
    ignore_case: StrictBool = Field(default=False, description="MetaCLIP matches letter by letter.")


class PhrasesPolicy(BaseModel, extra="forbid", frozen=True):
    """Noun phrases of a caption: by spaCy where a model is named, else runs between stop words."""

    spacy: str | None = Field(
        default=None, description="A spaCy pipeline's name or folder, e.g. en_core_web_sm."
    )
    max_words: StrictInt = Field(
        default=4, ge=1, le=20, description="Longer phrases are cut to their last words."
    )


class FunctionPolicy(BaseModel, extra="forbid", frozen=True):
    """A measure of one's own."""

    function: str = Field(..., description="FILE.py:FUNCTION or MODULE:FUNCTION.")
