"""The columns of the stage's measures, one row a uid."""

import pyarrow as pa

CANDIDATES_SCHEMA = pa.schema(
    [
        ("texts", pa.list_(pa.string())),  # candidate 1 first; empty where captioning failed
        ("seeds", pa.list_(pa.int64())),  # of each
        ("error", pa.string()),  # why captioning failed; null where it did not
        ("model", pa.string()),
        ("digest", pa.string()),  # of a folder's files; a hub's commit; null for a server's
        ("decoding", pa.string()),  # JSON: what was asked for; servers may draw as they like
    ]
)
MATCHES_SCHEMA = pa.schema(
    [
        ("score", pa.float32()),  # probability that the web caption matches; null where it failed
        ("synthetic", pa.list_(pa.float32())),  # of each candidate
        ("error", pa.string()),
    ]
)
CLIP_TEXTS_SCHEMA = pa.schema(
    [
        ("score", pa.float32()),  # cosine of the web caption, from the same stored embeddings
        ("synthetic", pa.list_(pa.float32())),  # of each candidate
    ]
)
