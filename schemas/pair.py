"""What a row of a pool is: its identity, its columns, and the ways in which it can fail.

The pool's layout is img2dataset's (tar + parquet + stats), so that its readers read ours and its
output folders can be used as a pool. Columns that img2dataset does not have come last.
"""

import hashlib
import json
from enum import StrEnum

import pyarrow as pa

UID_HEX_DIGITS = 32

ROWS_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),  # number of the input row, the ledger's key
        ("uid", pa.string()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("image", pa.int64()),  # lowest input row with the same URL: names the image
        ("repeated", pa.bool_()),  # an earlier row has the same uid
    ]
)

POOL_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("key", pa.string()),  # name of the image in the tar; rows of one URL share it
        ("status", pa.string()),  # a Status
        ("error_message", pa.string()),
        ("width", pa.int32()),  # px, as stored
        ("height", pa.int32()),
        ("original_width", pa.int32()),  # px, as fetched, upright
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),  # of the bytes as fetched
        ("row", pa.int64()),
        ("uid", pa.string()),
        ("image", pa.int64()),
        ("repeated", pa.bool_()),
        ("failure", pa.string()),  # a Failure, null where status is success
    ]
)


class Status(StrEnum):
    """img2dataset's words for how a row ended."""

    SUCCESS = "success"
    NOT_DOWNLOADED = "failed_to_download"
    NOT_RESIZED = "failed_to_resize"


class Failure(StrEnum):
    """Why an image is not in the pool. A closed vocabulary: the ledger's reasons at stage fetch."""

    BAD_URL = "bad_url"  # not an http(s) URL with a host
    DNS = "dns"  # the host's name has no address
    CONNECT = "connect"  # refused, reset or unreachable
    TLS = "tls"
    TIMEOUT = "timeout"  # the total deadline passed
    NOT_FOUND = "not_found"  # 404
    GONE = "gone"  # 410
    FORBIDDEN = "forbidden"  # 401, 403, 451
    TOO_MANY_REQUESTS = "too_many_requests"  # 429, after the last retry
    CLIENT_ERROR = "client_error"  # any other 4xx
    SERVER_ERROR = "server_error"  # 5xx, after the last retry
    REDIRECTS = "redirects"  # a loop, or more than the limit
    TOO_LARGE = "too_large"  # more bytes than the limit
    BROKEN_TRANSFER = "broken_transfer"  # the body ended early
    EMPTY_BODY = "empty_body"
    NOT_AN_IMAGE = "not_an_image"  # no decoder knows these bytes
    TRUNCATED = "truncated"  # an image that ends early
    BROKEN_IMAGE = "broken_image"  # an image that cannot be decoded
    TOO_MANY_PIXELS = "too_many_pixels"
    OPTED_OUT = "opted_out"  # the server asks not to be used
    OTHER = "other"  # an engine's error with no class of its own


def make_uid(url: str, caption: str) -> str:
    """First 32 hex digits of sha256 over the JSON array [url, caption] in UTF-8."""
    text = json.dumps([url, caption], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:UID_HEX_DIGITS]


def image_key(shard: int, index: int) -> str:
    """Key of the `index`-th image of a pool shard, as img2dataset writes it: 000120007."""
    return f"{shard:05d}{index:04d}"
