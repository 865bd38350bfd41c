"""What a recipe says of a corpus."""

from pydantic import BaseModel, Field, StrictInt


class CorpusPolicy(BaseModel, extra="forbid", frozen=True):
    """Universal WebDataset shards: KEY.jpg (or .png), KEY.txt, KEY.json."""

    samples_per_shard: StrictInt = Field(
        default=10_000,
        gt=0,
        description="At most so many samples in a shard; the last may be smaller.",
    )
