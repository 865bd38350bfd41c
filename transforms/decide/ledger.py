"""What a decision leaves: one outcome a row, the selection, the surviving texts, and the funnel."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import RunFailedError
from schemas.layout import FUNNEL_FILE, TEXTS_FILE, ledger_manifest, shard_name
from schemas.outcome import Stage
from schemas.texts import WEB, WEB_SOURCE
from transforms.decide.screen import Step
from transforms.decide.screened import Screened
from transforms.decide.selection import as_selection
from transforms.shards.commit import Draft
from transforms.shards.ordered import among
from transforms.shards.tables import read_committed
from transforms.shards.uids import halves

COUNTED = ["stage", "reason"]  # null where kept; the funnel is counted from these
TEXTS_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("text", pa.int32()),  # 0: the web caption; n: candidate n
        ("row", pa.int64()),
        ("image", pa.int64()),
        ("shard", pa.int32()),  # of the pool
        ("place", pa.int32()),  # position among the pool shard's rows
        ("clip_score", pa.float32()),  # of the recipe's last CLIP rule; null without one
        ("itm", pa.float32()),  # probability that image and text match; null where not asked
        ("rank", pa.int32()),  # among the image's texts, 1 the best; null where not ranked
        ("source", pa.string()),  # "web", or the measure that holds the candidate
        ("given_by", pa.int64()),  # the dropped image whose caption this was; null for one's own
        ("caption", pa.string()),  # of what was given, or a candidate; one's own is in the pool
    ]
)


def kept_texts(screened: Screened, shard: int) -> pa.Table:
    """TEXTS_SCHEMA: each kept row of a shard, and each whose caption was given to another image;
    where a rule chose among texts, those it chose."""
    if screened.chosen is not None:
        return _chosen_texts(screened, screened.chosen, shard)
    is_given = screened.given_to >= 0
    places = np.flatnonzero(screened.kept | is_given)
    rows, given = screened.rows.take(places), is_given[places]
    own = rows["image"].to_numpy()
    columns = {
        "uid": rows["uid"],
        "text": np.zeros(len(places), np.int32),
        "row": rows["row"],
        "image": np.where(given, screened.given_to[places], own),
        "shard": np.full(len(places), shard, np.int32),
        "place": places.astype(np.int32),
        "clip_score": pa.array(screened.clip_score[places], from_pandas=True),
        "itm": pa.nulls(len(places), pa.float32()),
        "rank": pa.nulls(len(places), pa.int32()),
        "source": pa.repeat(WEB_SOURCE, len(places)),
        "given_by": pa.array(own, mask=~given),
        "caption": screened.given_captions(places),
    }
    return pa.table(columns, schema=TEXTS_SCHEMA)


def _chosen_texts(screened: Screened, chosen: pa.Table, shard: int) -> pa.Table:
    """TEXTS_SCHEMA: the texts that a rule chose, of the rows that are still kept."""
    chosen = chosen.filter(pa.array(screened.kept[chosen["place"].to_numpy()]))
    places = chosen["place"].to_numpy()
    rows = screened.rows.take(places)
    noted = pa.array(screened.clip_score[places], from_pandas=True)
    is_web = pc.equal(chosen["text"], WEB)
    columns = {
        "uid": rows["uid"],
        "text": chosen["text"],
        "row": rows["row"],
        "image": rows["image"],
        "shard": pa.repeat(pa.scalar(shard, pa.int32()), len(places)),
        "place": places.astype(np.int32),
        "clip_score": pc.if_else(
            is_web, pc.coalesce(chosen["clip_score"], noted), chosen["clip_score"]
        ),
        "given_by": pa.nulls(len(places), pa.int64()),
    }
    columns |= {name: chosen[name] for name in ("itm", "rank", "source", "caption")}
    return pa.table({name: columns[name] for name in TEXTS_SCHEMA.names}, schema=TEXTS_SCHEMA)


def write_ledger(screened: Screened, shard: int, draft: Draft) -> None:
    """A shard's ledger, and the references to what it keeps, into a draft."""
    ledger, kept = screened.ledger(), kept_texts(screened, shard)
    # No dictionaries of what hardly ever comes twice: to try one takes as long as to write.
    repeating: Any = ["stage", "reason", "rule", "limit"]
    name = shard_name(shard)
    pq.write_table(ledger, draft.path(f"{name}.parquet"), use_dictionary=repeating)
    pq.write_table(kept, draft.path(f"{name}.kept"), use_dictionary=False)


def write_decision(
    decision: Path, shards: Iterable[int], steps: Sequence[Step], draft: Draft
) -> None:
    """Selection, texts and funnel from the ledgers of all shards, into a draft."""
    manifests = {shard_name(shard): ledger_manifest(decision, shard) for shard in shards}
    tables = [read_committed(path, f"{name}.kept") for name, path in manifests.items()]
    texts = surviving_texts(pa.concat_tables(tables))
    pq.write_table(texts, draft.path(TEXTS_FILE))
    with draft.path("selection.npy").open("wb") as file:
        own = texts.filter(texts["given_by"].is_null())["uid"].unique()
        np.save(file, as_selection(*halves(own)))
    ledgers = (read_ledger(decision, shard, COUNTED) for shard in shards)
    funnel = count_funnel(ledgers, [step.rule.stage for step in steps])
    funnel["images"] = len(np.unique(texts["image"].to_numpy()))
    synthetic = int(pc.sum(pc.not_equal(texts["text"], WEB)).as_py() or 0)
    funnel["captions"] = {"web": texts.num_rows - synthetic, "synthetic": synthetic}
    draft.path(FUNNEL_FILE).write_text(json.dumps(funnel, indent=1) + "\n")


def surviving_texts(texts: pa.Table) -> pa.Table:
    """All texts of the images that are kept, sorted by image, an image's own first, then by row,
    then by number.

    A caption given to an image that was itself dropped as a duplicate goes on with that one's."""
    given = texts["given_by"].is_valid().to_numpy()
    images = texts["image"].to_numpy().copy()
    kept = np.unique(images[~given])
    givers = texts["given_by"].filter(pa.array(given)).to_pylist()
    takers = dict(zip(givers, images[given].tolist(), strict=True))
    for place in np.flatnonzero(given & ~among(images, kept)).tolist():
        images[place] = _last_taker(int(images[place]), takers)
    texts = texts.set_column(texts.column_names.index("image"), "image", pa.array(images))
    order = np.lexsort((texts["text"].to_numpy(), texts["row"].to_numpy(), given, images))
    return texts.take(order[among(images[order], kept)])


def _last_taker(image: int, takers: Mapping[int, int]) -> int:
    """Where captions given to an image end."""
    passed: set[int] = set()
    while image in takers and image not in passed:
        passed.add(image)
        image = takers[image]
    return image


def read_ledger(decision: Path, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
    """LEDGER_SCHEMA, or some of its columns, of one shard, in the pool's order.

    Raises: RunFailedError: not committed, or it has other bytes than it had then."""
    manifest = ledger_manifest(decision, shard)
    return read_committed(manifest, f"{shard_name(shard)}.parquet", columns=columns)


def read_funnel(decision: Path) -> dict[str, Any]:
    """What `count_funnel` found, and the number of images, of a committed decision.

    Raises: RunFailedError: the file is damaged."""
    path = decision / FUNNEL_FILE
    try:
        return json.loads(path.read_bytes())
    except (ValueError, OSError) as err:
        raise RunFailedError(
            f"{path} cannot be read ({err}): delete it and run again to make it anew."
        ) from err


def count_funnel(ledgers: Iterable[pa.Table], stages: Sequence[Stage]) -> dict[str, Any]:
    """Rows in, kept, and dropped by stage and reason, from the ledgers.

    `stages` are those of the recipe's rules; all of them are named, in the order in which rows
    meet them, a stage that dropped nothing too."""
    counts: Counter[tuple[str | None, str | None]] = Counter()  # (None, None): kept
    for ledger in ledgers:
        found = ledger.group_by(COUNTED).aggregate([([], "count_all")]).to_pydict()
        endings = zip(found["stage"], found["reason"], found["count_all"], strict=True)
        for stage, reason, rows in endings:
            counts[stage, reason] += rows
    dropped: dict[str, dict[str, int]] = {}
    for stage in dict.fromkeys([Stage.READ, Stage.FETCH, *stages]):
        reasons = [(reason, n) for (at, reason), n in counts.items() if at == stage]
        ordered = sorted(reasons, key=lambda found: (-found[1], found[0]))
        dropped[stage.value] = {str(reason): n for reason, n in ordered}
    return {"input_rows": counts.total(), "kept": counts[None, None], "dropped": dropped}
