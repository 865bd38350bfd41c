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


LEDGER_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("uid", pa.string()),
        ("kept", pa.bool_()),
        ("stage", pa.string()),  # a Stage; null where kept
        ("reason", pa.string()),  # closed vocabulary of the stage; null where kept
        ("detail", pa.string()),  # free text: the value and the limit; null where kept
    ]
)
