"""What all tests share: hypothesis without clocks, and pools drawn in code."""

import io
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from milling import demo
from PIL import Image

from schemas.layout import pool_manifest, shard_name
from schemas.pair import POOL_SCHEMA, image_key, make_uid
from transforms.shards.commit import Draft
from transforms.shards.tar import sample_writer

Row = Mapping[str, Any]
DrawPool = Callable[[Path, int, Sequence[Row]], None]

# No deadline: a test never measures a time. No database: a failure prints how to repeat it.
settings.register_profile(
    "pairmill",
    deadline=None,
    database=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("pairmill")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A demo that nothing disturbed, and its report. Whoever changes it takes a copy."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    return out, demo(out)


@pytest.fixture(scope="session")
def draw_pool() -> DrawPool:
    """Commits a pool shard of drawn images: `draw_pool(pool, shard, rows)`.

    A row needs nothing but `row`; url, caption, image, uid, extension, failure, repeated,
    original_width, original_height and sha256 may be given. Rows of one image are adjacent.
    """
    return _draw_pool


def _draw_pool(pool: Path, shard: int, rows: Sequence[Row]) -> None:
    name = shard_name(shard)
    filled = _filled(shard, rows)
    with Draft(pool_manifest(pool, shard)) as draft:
        with sample_writer(draft.path(f"{name}.tar")) as writer:
            written: set[str] = set()
            for row, given in zip(filled, rows, strict=True):
                if row["failure"] is None and row["key"] not in written:
                    extension = given.get("extension", "jpg")
                    writer.write(row["key"], {extension: _picture(row["image"], extension)})
                    written.add(row["key"])
        table = pa.Table.from_pylist(filled, schema=POOL_SCHEMA)
        pq.write_table(table, draft.path(f"{name}.parquet"))
        draft.facts["tar"] = f"{name}.tar"


def _filled(shard: int, rows: Sequence[Row]) -> list[dict[str, Any]]:
    images = list(dict.fromkeys(row.get("image", row["row"]) for row in rows))
    filled = []
    for row in rows:
        image = row.get("image", row["row"])
        url = row.get("url", f"http://pool.test/{image}.jpg")
        caption = row.get("caption", f"picture number {row['row']}")
        failure = row.get("failure")
        facts = {
            "url": url,
            "caption": caption,
            "key": image_key(shard, images.index(image)),
            "status": "success" if failure is None else "failed_to_download",
            "error_message": None if failure is None else f"told: {failure}",
            "width": 24,
            "height": 16,
            "original_width": 48,
            "original_height": 32,
            "exif": "{}",
            "sha256": f"{image:064x}",
            "uid": make_uid(url, caption),
            "image": image,
            "repeated": False,
            "failure": None,
        }
        filled.append(facts | {name: row[name] for name in row if name in POOL_SCHEMA.names})
    return filled


def _picture(number: int, extension: str) -> bytes:
    colour = (40 + 53 * number % 200, 90 + 29 * number % 150, 17 * number % 256)
    out = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(out, {"jpg": "JPEG"}.get(extension, extension.upper()))
    return out.getvalue()
