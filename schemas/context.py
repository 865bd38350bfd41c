"""What is known of an image besides its pixels: what LLaVA calls its symbolic representation."""

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Thing(BaseModel, frozen=True, extra="forbid"):
    """An object and its box."""

    label: str = Field(min_length=1, pattern=r"[^\W\d_]", description="With a letter in it.")
    box: tuple[Share, Share, Share, Share] = Field(
        description="x1, y1, x2, y2 as shares of width and height, from the upper left corner."
    )

    @model_validator(mode="after")
    def _has_corners_in_order(self) -> "Thing":
        left, top, right, bottom = self.box
        if left > right or top > bottom:
            raise ValueError("a box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
        return self


class Answered(BaseModel, frozen=True, extra="forbid"):
    """A question that people answered."""

    question: str = Field(min_length=1)
    answers: tuple[str, ...] = Field(min_length=1, description="One of each person who was asked.")


class Context(BaseModel, frozen=True, extra="forbid"):
    """Captions, boxes, answers and lettering of one image."""

    captions: tuple[str, ...] = ()
    things: tuple[Thing, ...] | None = Field(default=None, description="None: nobody drew boxes.")
    answered: tuple[Answered, ...] = ()
    lettering: tuple[str, ...] = Field(default=(), description="OCR tokens.")
