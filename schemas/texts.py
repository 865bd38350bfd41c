"""Which texts of an image survive: what the rules that choose captions give beside their drops."""

import pyarrow as pa

WEB = 0  # number of the web caption among a row's texts; candidates count from 1
WEB_SOURCE = "web"
CHOSEN_SCHEMA = pa.schema(
    [
        ("place", pa.int64()),  # of the row that bears the text, among those the rule was shown
        ("text", pa.int32()),  # WEB, or the number of a candidate
        ("caption", pa.string()),  # of a candidate; null for the web caption, which the pool has
        ("source", pa.string()),  # WEB_SOURCE, or the measure that the candidate is from
        ("itm", pa.float32()),  # probability that text and image match; null where not asked
        ("clip_score", pa.float32()),  # cosine; null where not asked
        ("rank", pa.int32()),  # 1: the best of an image; null where the rule does not rank
    ]
)
