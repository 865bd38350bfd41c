"""What a row of the demo's list can be, and how many rows of each kind a list gets."""

from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """A closed vocabulary: the keys under `planted` in the demo's report."""

    GOOD = "good"  # a picture with a right caption
    REDIRECT = "redirect"  # good too, behind a redirect
    SAME_URL = "same_url"  # good too: a second right caption of a good row's URL
    WRONG_CAPTION = "wrong_caption"  # the caption of another picture
    EXACT_COPY = "exact_copy"  # a good picture's bytes and caption under another URL
    REENCODED_COPY = "reencoded_copy"  # the same, but smaller and compressed again
    BROKEN_FILE = "broken_file"  # bytes that only begin like a JPEG, or no bytes at all
    TRUNCATED = "truncated"  # a JPEG stored without its second half
    CUT_TRANSFER = "cut_transfer"  # the connection ends before the promised length
    HTML = "html"  # a page served as image/jpeg
    NOT_FOUND = "not_found"  # 404
    GONE = "gone"  # 410
    SERVER_ERROR = "server_error"  # 500
    REDIRECT_LOOP = "redirect_loop"
    REFUSED = "refused"  # nobody listens at that host
    SLOW = "slow"  # a byte now and then, for ever
    TINY = "tiny"  # longer side under 64 px
    EXTREME_ASPECT = "extreme_aspect"  # 4:1 or 1:4
    OTHER_LANGUAGE = "other_language"  # a true caption that is not in English
    EMPTY_CAPTION = "empty_caption"  # nothing, or white space


GOOD_KINDS = frozenset({Kind.GOOD, Kind.REDIRECT, Kind.SAME_URL})
ORIGINAL_BYTES = GOOD_KINDS | {Kind.EXACT_COPY}  # these serve a picture's very bytes
WHOLE_KINDS = ORIGINAL_BYTES | {Kind.REENCODED_COPY}  # keeping one of these keeps the picture

WRONG_SHARE = 0.3  # of the pictures; the others have a right caption
REDIRECT_SHARE = 0.03  # of the pictures
SLOW_ROWS_AT_MOST = 8  # each costs a fetch its whole deadline

# Rows beside the pictures themselves, as parts of a whole; each kind gets one row at least.
_PARTS = {
    Kind.SAME_URL: 6,
    Kind.EXACT_COPY: 22,
    Kind.REENCODED_COPY: 11,
    Kind.BROKEN_FILE: 6,
    Kind.TRUNCATED: 7,
    Kind.CUT_TRANSFER: 2,
    Kind.HTML: 7,
    Kind.NOT_FOUND: 9,
    Kind.GONE: 3,
    Kind.SERVER_ERROR: 4,
    Kind.REDIRECT_LOOP: 2,
    Kind.REFUSED: 3,
    Kind.SLOW: 1,
    Kind.TINY: 5,
    Kind.EXTREME_ASPECT: 4,
    Kind.OTHER_LANGUAGE: 5,
    Kind.EMPTY_CAPTION: 3,
}


def extra_rows(total: int) -> dict[Kind, int]:
    """How many of `total` rows beside the pictures each kind gets.

    Raises: ValueError: fewer rows than kinds."""
    counts = _apportion(total, _PARTS)
    too_slow = max(0, counts[Kind.SLOW] - SLOW_ROWS_AT_MOST)
    counts[Kind.SLOW] -= too_slow
    counts[Kind.EXACT_COPY] += too_slow
    return counts


def _apportion(total: int, parts: Mapping[Kind, int]) -> dict[Kind, int]:
    """One each, and the rest by largest remainders, so that the counts add up to `total`."""
    rest = total - len(parts)
    if rest < 0:
        raise ValueError(f"{total} rows cannot hold {len(parts)} kinds")
    exact = {kind: rest * part / sum(parts.values()) for kind, part in parts.items()}
    counts = {kind: 1 + int(share) for kind, share in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: int(exact[kind]) - exact[kind])
    for kind in by_remainder[: total - sum(counts.values())]:
        counts[kind] += 1
    return counts
