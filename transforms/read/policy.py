"""What a recipe says of its input."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, StrictInt, model_validator


class InputPolicy(BaseModel, extra="forbid", frozen=True):
    """A list of URLs with captions, or a finished pool. Exactly one of `list` and `pool`."""

    list: Path | None = Field(
        default=None,
        description="Parquet, CSV, TSV or JSON lines (.gz too), or a folder of such files, read in"
        " the order of their names; relative to the recipe's folder.",
    )
    pool: Path | None = Field(
        default=None,
        description="An output folder of img2dataset (webdataset format), used as it lies.",
    )
    url: str = Field(default="url", description="Name of the column with the URL.")
    caption: str = Field(default="caption", description="Name of the column with the caption.")
    uid: str | None = Field(
        default=None,
        description="Name of the column with uids of 32 hex digits, as DataComp has; else made.",
    )
    header: tuple[str, ...] | None = Field(
        default=None, description="Column names of a CSV or TSV that has no header line."
    )
    images_per_shard: StrictInt = Field(
        default=1000, gt=0, le=10_000, description="Images in a pool shard: the unit of work."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.list is None) == (self.pool is None):
            raise ValueError("give exactly one of `list` and `pool`")
        if Path() in (self.list, self.pool):
            raise ValueError("`list` and `pool` name a file or folder other than the recipe's own")
        return self
