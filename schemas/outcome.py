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
    CAPFILT = "capfilt"
    SELECT = "select"  # balance, caps, budgets, selections made elsewhere, rules joined by logic


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
    NEAR_DUPLICATE = "near_duplicate"
    SEMANTIC_DUPLICATE = "semantic_duplicate"
    TEXT_DUPLICATE = "text_duplicate"
    EVALUATION_IMAGE = "evaluation_image"  # matches an image of an evaluation set
    LOW_CLIP_SCORE = "low_clip_score"
    LOW_ITM = "low_itm"  # no text of the row matches its image
    NO_TOP_CAPTION = "no_top_caption"  # none of its texts is among the best of the image
    NO_VALUE = "no_value"  # the measure has none for this row: null or NaN
    UNDER_LIMIT = "under_limit"
    OVER_LIMIT = "over_limit"
    NOT_SELECTED = "not_selected"  # not in a selection made elsewhere
    NO_CONCEPT = "no_concept"  # MetaCLIP: the caption matches no entry of the list
    COMMON_CONCEPTS = "common_concepts"  # MetaCLIP: none of the matched entries was drawn
    NO_RARE_PHRASE = "no_rare_phrase"  # LLaVA: every phrase of the caption has enough captions
    HOST_CAP = "host_cap"
    CAPTION_CAP = "caption_cap"
    LANGUAGE_SURPLUS = "language_surplus"  # more rows of its language than the balance takes
    OVER_BUDGET = "over_budget"  # not drawn into a sample of a set size
    NO_RULE_KEEPS = "no_rule_keeps"  # any_of: every rule joined drops the row
    RULE_KEEPS = "rule_keeps"  # not: the rule that is turned round keeps the row
    UNMEASURED = "unmeasured"  # `decide` only: a rule's measure is not there yet


LEDGER_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("uid", pa.string()),
        ("kept", pa.bool_()),
        ("stage", pa.string()),  # a Stage; null where kept
        ("reason", pa.string()),  # a Reason or, at stage fetch, a Failure; null where kept
        ("rule", pa.string()),  # as a recipe's faults name it: rules.5.clip_score; null if by none
        ("value", pa.float64()),  # what the rule compared, where it is a number
        ("limit", pa.float64()),  # what it was compared with
        ("detail", pa.string()),  # free text: the value and the limit; null where kept
    ]
)
