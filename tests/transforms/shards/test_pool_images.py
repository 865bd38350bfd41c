import os
from pathlib import Path

import pytest

from schemas.errors import CorruptPoolError, RunFailedError
from schemas.pair import POOL_SCHEMA
from transforms.shards.pool import PoolImages, read_pool


def test_rows_and_images_are_read_from_a_committed_shard(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path, 2, [{"row": 5}, {"row": 6, "extension": "png"}])
    rows = read_pool(tmp_path, 2)
    assert rows.schema.equals(POOL_SCHEMA)
    assert rows["row"].to_pylist() == [5, 6]
    with PoolImages(tmp_path, 2) as images:
        extension, data = images.read("000020000")
        assert (extension, data[:2]) == ("jpg", b"\xff\xd8")
        assert images.read("000020001")[0] == "png"
        with pytest.raises(CorruptPoolError, match=r"no image 000020009.*delete the files 00002\*"):
            images.read("000020009")


def test_a_shard_without_its_manifest_is_not_read(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path, 0, [{"row": 0}])
    (tmp_path / "00000_stats.json").unlink()
    with pytest.raises(CorruptPoolError, match="not committed"):
        PoolImages(tmp_path, 0)
    with pytest.raises(RunFailedError, match="not committed"):
        read_pool(tmp_path, 0)


def test_a_damaged_shard_is_named(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path, 0, [{"row": 0}])
    os.truncate(tmp_path / "00000.tar", 700)
    with pytest.raises(CorruptPoolError, match=r"00000\.tar"):
        PoolImages(tmp_path, 0)
    os.truncate(tmp_path / "00000.parquet", 100)
    with pytest.raises(RunFailedError, match=r"00000\.parquet .* run again"):
        read_pool(tmp_path, 0)
