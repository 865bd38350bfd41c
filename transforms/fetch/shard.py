"""Make one pool shard: fetch and decode its images, store them, commit.

The event loop downloads; one thread beside it decodes. A download's place is free again only
when its image is decoded and spooled, so a slow decoder slows the network down and memory holds
at most `concurrency` bodies.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from schemas.layout import pool_manifest, shard_name
from transforms.fetch.decode import decode
from transforms.fetch.download import download_all
from transforms.fetch.img2dataset_engine import fetch_by_img2dataset
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.pool import (
    distinct_images,
    open_spool,
    pool_table,
    stats,
    write_parquet,
    write_tar,
)
from transforms.fetch.records import Decoded, Download, Failed
from transforms.shards.commit import Draft, Manifest, committed

Put = Callable[[int, Decoded | Failed], None]


def make_pool_shard(rows: pa.Table, shard: int, pool: Path, policy: FetchPolicy) -> Manifest:
    """Commit pool shard `shard` unless it is committed; returns its manifest.

    Args:   rows: ROWS_SCHEMA, rows of one image adjacent.
    Raises: RunFailedError: the disk is full or not writable, or img2dataset failed as a whole.
    """
    manifest = pool_manifest(pool, shard)
    if (done := committed(manifest)) is not None:
        return done
    began_s = time.time()
    images = distinct_images(rows, shard)
    with Draft(manifest) as draft, open_spool(pool) as spool:
        _fetch([image.url for image in images], policy, pool, spool.put)
        facts = [spool.facts[index] for index in range(len(images))]
        at = _image_of_row(rows)
        table = pool_table(rows, [images[i].key for i in at], [facts[i] for i in at])
        tar = f"{shard_name(shard)}.tar"
        write_tar(draft.path(tar), images, spool)
        write_parquet(draft.path(f"{shard_name(shard)}.parquet"), table)
        draft.facts |= {"images": len(images), "tar": tar, **stats(table, began_s, time.time())}
    return _committed(manifest)


def _committed(manifest: Path) -> Manifest:
    """What stands there now: ours, or that of a writer who was first."""
    done = committed(manifest)
    assert done is not None
    return done


def _fetch(urls: Sequence[str], policy: FetchPolicy, pool: Path, put: Put) -> None:
    if policy.engine == "img2dataset":
        fetch_by_img2dataset(urls, policy, pool, put)
    else:
        asyncio.run(_fetch_natively(urls, policy, put))


async def _fetch_natively(urls: Sequence[str], policy: FetchPolicy, put: Put) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "decode") as decoder:

        def decode_and_put(index: int, result: Download | Failed) -> None:
            put(index, decode(result.body, policy) if isinstance(result, Download) else result)

        async def take(index: int, result: Download | Failed) -> None:
            await loop.run_in_executor(decoder, decode_and_put, index, result)

        await download_all(urls, policy, take)


def _image_of_row(rows: pa.Table) -> list[int]:
    """For each row the index of its image among the unit's."""
    indices: dict[int, int] = {}
    return [indices.setdefault(image, len(indices)) for image in rows["image"].to_pylist()]
