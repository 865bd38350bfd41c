"""A seeded sample of a run for a person to judge: drawn, and written as a CSV and as a page."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import base64
import dataclasses
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from pipelines.decided import open_decided
from pipelines.job import Job
from pipelines.look.audit_judge import Judged
from pipelines.look.instead import keeper_rows, pictures_of
from pipelines.look.judgements import (
    COLUMNS,
    DROPPED,
    KEPT,
    Line,
    as_cells,
    as_csv,
    read_judgements,
)
from pipelines.look.texts import texts_of
from schemas.errors import BadInputError
from schemas.outcome import Reason
from schemas.pair import Status
from transforms.decide.ledger import read_funnel, read_ledger
from transforms.decide.rule import Mask
from transforms.shards.commit import write_atomically
from transforms.shards.pool import PoolImages, read_pool
from transforms.shards.uids import draws

JUDGEMENTS_FILE, PAGE_FILE = "judgements.csv", "index.html"
_PICTURE_PX, _GAP_PX, _JPEG_QUALITY = 512, 12, 80
_DUPLICATES = {
    Reason.EXACT_DUPLICATE,
    Reason.NEAR_DUPLICATE,
    Reason.SEMANTIC_DUPLICATE,
    Reason.TEXT_DUPLICATE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A sample as it was written."""

    folder: str
    of: str
    sampled: int
    population: int  # rows that ended so


def draw_audit(
    run: Path,
    *,
    n: int = 200,
    seed: int = 0,
    of: str = KEPT,
    out: Path | None = None,
    decision: str | None = None,
) -> Audit:
    """Write a sample of rows to judge: judgements.csv, and a page that fills it in.

    Rows come in the order of their draws: a larger `n` begins with the rows of a smaller one, and
    the first rows of a sample are a sample. Judgements are never overwritten: where the file has
    some of this very sample, it stays, and the page goes on from it.

    Args:
        of: kept, dropped, or a reason for which rows are dropped.
        out: where to; default RUN/audits/OF-N-SEED.
        decision: another than the last recipe's, by the beginning of its fingerprint.
    Raises: BadInputError: no row ended so, or the folder holds judgements of other rows."""
    if n < 1:
        raise BadInputError(f"n is {n}: at least 1 row is wanted.")
    job = open_decided(run, decision)
    picks, population = _draw(job, of, n, seed)
    if not population:
        raise BadInputError(f"No row of {run} ended as {of!r}; there are: {_endings(job)}.")
    folder = out or run / "audits" / f"{of}-{n}-{seed}"
    lines = _lines(job, picks)
    before = _verdicts_before(folder / JUDGEMENTS_FILE, lines)
    if not any(before):
        write_atomically(folder / JUDGEMENTS_FILE, as_csv(lines))
    write_atomically(folder / PAGE_FILE, _page(lines, before, of).encode())
    return Audit(folder=str(folder), of=of, sampled=len(lines), population=population)


def as_line(found: Audit | Judged) -> str:
    """As one line of JSON."""
    return json.dumps(dataclasses.asdict(found), ensure_ascii=False)


def print_audit(audit: Audit, run: Path) -> None:
    """What was drawn, and what to do next."""
    folder = Path(audit.folder)
    print(f"{audit.sampled:,} of {audit.population:,} rows ({audit.of}) are drawn.")
    print(f"Judge them in a browser: {folder / PAGE_FILE}")
    print(f"or in a table: {folder / JUDGEMENTS_FILE}, column verdict: right, wrong or unsure.")
    print(f"Then: pairmill audit {run} --judged JUDGED.csv")


def _draw(job: Job, of: str, n: int, seed: int) -> tuple[pd.DataFrame, int]:
    """Columns draw, row, shard, place: the sample in its order; and out of how many rows."""
    picks, population = pd.DataFrame(), 0
    for shard in range(job.shards):
        ledger = read_ledger(job.decision, shard, ["row", "uid", "kept", "reason"])
        places = np.flatnonzero(_ended(ledger, of))
        population += len(places)
        found = ledger.select(["row", "uid"]).take(places)
        more = {"draw": draws(found["uid"], "audit", seed), "row": found["row"].to_numpy()}
        more = pd.DataFrame(more | {"shard": shard, "place": places})
        picks = more if picks.empty else pd.concat([picks, more])
        picks = picks.sort_values(["draw", "row"]).head(n)
    return picks, population


def _ended(ledger: pa.Table, of: str) -> Mask:
    kept = ledger["kept"].to_numpy()
    if of in (KEPT, DROPPED):
        return kept if of == KEPT else ~kept
    return pc.fill_null(pc.equal(ledger["reason"], of), False).to_numpy()


def _endings(job: Job) -> str:
    """How rows of the run ended, for messages."""
    funnel = read_funnel(job.decision)
    reasons = Counter[str]()
    for dropped in funnel["dropped"].values():
        reasons.update(dropped)
    counts = {KEPT: funnel["kept"], DROPPED: reasons.total(), **reasons}
    return ", ".join(f"{name} ({rows:,})" for name, rows in counts.items() if rows)


def _lines(job: Job, picks: pd.DataFrame) -> list[Line]:
    """What a judge sees of each pick, in their order."""
    found: dict[int, Line] = {}
    for shard, group in picks.groupby("shard"):
        for line in _shard_lines(job, int(str(shard)), group["place"].to_numpy(np.int64)):
            found[line["row"]] = line
    lines = [found[row] for row in picks["row"].tolist()]
    chosen = texts_of(job, {line["row"]: line["caption"] for line in lines})
    for line in lines:  # what is judged is what survives
        line |= chosen.get(line["row"], [{}])[0]
    keepers = keeper_rows(job, lines)
    instead = pictures_of(job, set(keepers.values()))
    for line in lines:
        kept = instead.get(keepers.get(line["row"], -1))
        pictures = [picture for picture in (line["image"], kept) if picture is not None]
        line["image"] = _data_uri(_side_by_side(pictures)) if pictures else None
    return lines


def _shard_lines(job: Job, shard: int, places: np.ndarray) -> list[Line]:
    names = ["row", "uid", "stage", "reason", "rule", "value", "limit", "detail"]
    ledger = read_ledger(job.decision, shard, names).take(places)
    pool = read_pool(job.layout.pool, shard, columns=["url", "caption", "key", "status"])
    pairs = zip(ledger.to_pylist(), pool.take(places).to_pylist(), strict=True)
    lines = [ended | facts | {"image": None} for ended, facts in pairs]
    pictured = [line for line in lines if line["status"] == Status.SUCCESS]
    if pictured:
        with PoolImages(job.layout.pool, shard) as images:
            for line in pictured:
                line["image"] = images.picture(line["key"])
    return lines


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """One picture of all, each no larger than is shown."""
    for picture in pictures:
        picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
    width_px = sum(picture.width for picture in pictures) + _GAP_PX * (len(pictures) - 1)
    whole = Image.new("RGB", (width_px, max(picture.height for picture in pictures)), "white")
    left_px = 0
    for picture in pictures:
        whole.paste(picture, (left_px, 0))
        left_px += picture.width + _GAP_PX
    return whole


def _data_uri(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _verdicts_before(file: Path, lines: Sequence[Line]) -> list[str]:
    """(rows,): what the file says of each row of this sample; empty where it says nothing.

    Raises: BadInputError: it has judgements of other rows."""
    before = read_judgements(file) if file.exists() else []
    if not any(judgement.verdict for judgement in before):
        return [""] * len(lines)
    if {(j.row, j.uid) for j in before} != {(line["row"], line["uid"]) for line in lines}:
        raise BadInputError(f"{file} holds judgements of another sample: name another --out.")
    verdicts = {judgement.row: judgement.verdict for judgement in before}
    return [verdicts[line["row"]] for line in lines]


def _page(lines: Sequence[Line], verdicts: Sequence[str], of: str) -> str:
    """One file without a network: data that is only ever shown as text, and one script, which is
    the only one that the page's policy lets run."""
    template = Path(__file__).with_name("audit.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", template, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    pairs = zip(lines, verdicts, strict=True)
    sample = json.dumps([[line["row"], line["uid"]] for line in lines])
    data = {
        "question": _question(of),
        "name": hashlib.sha256(sample.encode()).hexdigest()[:16],
        "header": COLUMNS,
        "rows": [_shown(line) | {"verdict": verdict} for line, verdict in pairs],
    }
    # No `<` of a caption may end the element that holds the data.
    told = json.dumps(data, ensure_ascii=False).replace("<", r"\u003c")
    return template.replace("__SCRIPT__", f"sha256-{digest}").replace("__DATA__", told)


def _question(of: str) -> str:
    if of == KEPT:
        return "A sample of the rows kept: is it right to keep this pair?"
    rows = "dropped" if of == DROPPED else f"dropped as {of}"
    beside = " Of two pictures the right one is kept instead." if of in _DUPLICATES else ""
    return f"A sample of the rows {rows}: is it right to drop this pair?{beside}"


def _shown(line: Line) -> Line:
    names = ("stage", "reason", "rule", "value", "limit", "detail", "source", "itm", "clip_score")
    names = (*names, "url", "row", "uid")
    facts = {name: _told(line[name]) for name in names if line.get(name) is not None}
    return {
        "cells": as_cells(line),
        "caption": line["caption"],
        "image": line["image"],
        "facts": facts,
    }


def _told(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
