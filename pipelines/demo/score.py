"""Compare what a run decided with what is known about the demo's rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from pipelines.demo.kinds import GOOD_KINDS, ORIGINAL_BYTES, WHOLE_KINDS, Kind
from schemas.report import Good, Planted


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScore:
    """What a demo reports about itself."""

    planted: dict[Kind, Planted]  # in the order of Kind; only kinds that were planted
    good: Good


def score(truth: pd.DataFrame, ledger: pd.DataFrame) -> DemoScore:
    """Score what is kept (row, kept) against the truth (row, url, kind, image, caption_right).

    A planted row is caught if it was dropped, at whatever stage. Of a picture and its copies one
    may stay, whichever it is: each further one that stays is a copy not caught. A good row is
    lost only if no row of its picture with a right caption is kept, a copy's row included; tiny
    and stretched versions do not stand for the picture.

    Raises: ValueError: the two do not hold the same rows, each once."""
    if sorted(truth["row"]) != sorted(ledger["row"]):
        raise ValueError("the ledger and the truth do not hold the same rows")
    kept = set(ledger["row"][ledger["kept"]].tolist())
    rows = [
        _Scored(Kind(kind), url, image, right, row in kept)
        for row, url, kind, image, right in truth[_COLUMNS].itertuples(index=False)
    ]
    planted = sorted({row.kind for row in rows} - GOOD_KINDS, key=list(Kind).index)
    return DemoScore(planted={kind: _caught(rows, kind) for kind in planted}, good=_good(rows))


_COLUMNS = ["row", "url", "kind", "image", "caption_right"]


class _Scored(NamedTuple):
    kind: Kind
    url: str
    image: str
    caption_right: bool
    kept: bool


def _caught(rows: list[_Scored], kind: Kind) -> Planted:
    planted = sum(row.kind is kind for row in rows)
    match kind:
        case Kind.EXACT_COPY:
            missed = _redundant((r.image, r.url) for r in rows if r.kept and _is_original(r))
        case Kind.REENCODED_COPY:
            # All files of a picture's very bytes count as one here: an exact copy that stays
            # is not blamed on the re-encoded ones.
            missed = _redundant(
                (r.image, "" if _is_original(r) else r.url)
                for r in rows
                if r.kept and r.kind in WHOLE_KINDS
            )
        case _:
            missed = sum(row.kept for row in rows if row.kind is kind)
    return Planted(planted=planted, caught=planted - missed)


def _is_original(row: _Scored) -> bool:
    return row.kind in ORIGINAL_BYTES


def _redundant(kept_files: Iterable[tuple[str, str]]) -> int:
    """How many different files were kept beyond the first of their picture.

    Takes (picture, file) of each kept row; rows of one URL are one file."""
    files = set(kept_files)
    return len(files) - len({picture for picture, _ in files})


def _good(rows: list[_Scored]) -> Good:
    whole = [row for row in rows if row.kept and row.kind in WHOLE_KINDS]
    saved = {row.image for row in whole if row.caption_right}
    good = [row for row in rows if row.kind in GOOD_KINDS]
    return Good(rows=len(good), lost=sum(row.image not in saved for row in good))
