"""How an input row ends: kept, or dropped at one stage for one reason, with a detail."""

from enum import StrEnum

import pyarrow as pa


class Stage(StrEnum):
    """The stages at which a row can be dropped, in the order of the funnel."""

    READ = "read"
    FETCH = "fetch"
    BASIC = "basic"
    DEDUPE = "dedupe"
    CLIP = "clip"


class Reason(StrEnum):
    """Why a row that has its image is dropped: a closed vocabulary. What could not be fetched has
    a `schemas.pair.Failure` instead."""

    REPEATED_ROW = "repeated_row"  # stage read: an earlier row has the same uid
    EMPTY_CAPTION = "empty_caption"
    SHORT_CAPTION = "short_caption"
    SMALL_IMAGE = "small_image"
    EXTREME_ASPECT = "extreme_aspect"
    OTHER_LANGUAGE = "other_language"
    EXACT_DUPLICATE = "exact_duplicate"
    LOW_CLIP_SCORE = "low_clip_score"
    UNMEASURED = "unmeasured"  # `decide` only: a rule's measure is not there yet


LEDGER_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("uid", pa.string()),
        ("kept", pa.bool_()),
        ("stage", pa.string()),  # a Stage; null where kept
        ("reason", pa.string()),  # a Reason or, at stage fetch, a Failure; null where kept
        ("detail", pa.string()),  # free text: the value and the limit; null where kept
    ]
)
