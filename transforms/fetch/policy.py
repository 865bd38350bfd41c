"""What a recipe says of fetching. The defaults of this stage live here and nowhere else."""

import re
from typing import Any, Literal

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, field_validator

from transforms.fetch.hosts import parse_target

ResizeMode = Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"]

# Where these differ a pool is the same: they belong to no fingerprint.
_WITHOUT_EFFECT = frozenset({"resolve", "concurrency"})

_HOST_KEY = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")

LONGEST_BACKOFF_S = 60.0


class FetchPolicy(BaseModel, extra="forbid", frozen=True):
    """How images are fetched, decoded and stored."""

    engine: Literal["native", "img2dataset"] = Field(
        default="native", description="Who downloads and resizes: Pairmill itself, or img2dataset."
    )
    timeout_s: StrictFloat = Field(
        default=20.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Deadline of one attempt, from its DNS look-up to its last byte, redirects"
        " included. An image that misses it is not tried again.",
    )
    retries: StrictInt = Field(
        default=2, ge=0, le=20, description="Further attempts after a failure that may pass."
    )
    backoff_s: StrictFloat = Field(
        default=0.5,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description=f"Pause before the first retry; it doubles with each further one, up to"
        f" {LONGEST_BACKOFF_S:g} s.",
    )
    max_bytes: StrictInt = Field(
        default=20_000_000, gt=0, description="Largest body accepted, counted after decompression."
    )
    max_redirects: StrictInt = Field(
        default=5, ge=0, le=20, description="Redirects followed for one image."
    )
    concurrency: StrictInt = Field(
        default=32,
        gt=0,
        le=1024,
        description="Images in flight in one worker; that many bodies can be in memory.",
    )
    user_agent: str = Field(
        default="Pairmill/0.1",
        min_length=1,
        pattern=r"^[ -~]+$",
        description="How fetch presents itself.",
    )
    image_size_px: StrictInt = Field(
        default=512, gt=0, le=65_500, description="Side that images are resized to. DataComp: 512."
    )
    resize_mode: ResizeMode = Field(
        default="keep_ratio_largest",
        description="img2dataset's modes: no; border (longest side, then padded to a white"
        " square); keep_ratio (shorter side); keep_ratio_largest (longest side);"
        " center_crop (shorter side, then cut to a square).",
    )
    resize_only_if_bigger: StrictBool = Field(
        default=True, description="Leave images as they are that are no larger than image_size_px."
    )
    jpeg_quality: StrictInt = Field(default=95, ge=1, le=100, description="Of the stored JPEG.")
    max_pixels: StrictInt = Field(
        default=89_478_485,
        gt=0,
        le=178_956_970,
        description="Larger images are not decoded. The default is where Pillow begins to warn"
        " of decompression bombs; the upper bound is where it refuses.",
    )
    resolve: dict[str, str] = Field(
        default_factory=dict,
        description="Host to address:port, as curl's --resolve, whatever port the URL has;"
        " *.example.org stands for every subdomain.",
    )

    @field_validator("resolve")
    @classmethod
    def _hosts_and_targets(cls, resolve: dict[str, str]) -> dict[str, str]:
        for host, target in resolve.items():
            if not _HOST_KEY.fullmatch(host):
                raise ValueError(f"{host!r} is not a host in lower case, nor *. and a host")
            parse_target(target)
        return resolve

    def identity(self) -> dict[str, Any]:
        """What decides the pool's bytes, as far as servers answer alike: for fingerprints."""
        return self.model_dump(mode="json", exclude=set(_WITHOUT_EFFECT))
