from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import RunFailedError
from transforms.shards.commit import Draft
from transforms.shards.measures import (
    free_part,
    measure_parts,
    newcomers,
    part_manifest,
    read_measure,
)


def _commit_part(measure: Path, shard: int, part: int, **scores: float) -> None:
    manifest = part_manifest(measure, shard, part)
    with Draft(manifest) as draft:
        table = pa.table({"uid": list(scores), "score": list(scores.values())})
        pq.write_table(table, draft.path(f"{manifest.stem}.parquet"))


def test_parts_are_found_oldest_first_and_only_of_their_shard(tmp_path: Path) -> None:
    for part in range(12):
        _commit_part(tmp_path, 1, part, **{f"u{part}": float(part)})
    _commit_part(tmp_path, 11, 0, other=0.0)
    parts = measure_parts(tmp_path, 1)
    assert [path.name for path in parts] == [f"00001-{part}.json" for part in range(12)]
    assert read_measure(tmp_path, 1)["uid"].to_pylist() == [f"u{part}" for part in range(12)]


def test_a_part_without_its_manifest_does_not_exist(tmp_path: Path) -> None:
    _commit_part(tmp_path, 0, 0, a=1.0)
    pq.write_table(pa.table({"uid": ["b"], "score": [2.0]}), tmp_path / "00000-1.parquet")
    assert read_measure(tmp_path, 0)["uid"].to_pylist() == ["a"]


def test_newcomers_are_the_rows_that_no_part_holds(tmp_path: Path) -> None:
    rows = pa.table({"uid": ["d", "a", "c", "b"], "row": [0, 1, 2, 3]})
    assert newcomers(rows, tmp_path / "never", 0).equals(rows)
    _commit_part(tmp_path, 0, 0, a=1.0)
    _commit_part(tmp_path, 0, 1, b=2.0)
    assert newcomers(rows, tmp_path, 0)["uid"].to_pylist() == ["d", "c"]
    assert newcomers(rows, tmp_path, 1).equals(rows)
    assert newcomers(rows.slice(0, 0), tmp_path, 0).num_rows == 0


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    _commit_part(tmp_path, 3, 0, a=1.0)
    (tmp_path / "00003-0.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(RunFailedError, match=r"00003-0\.parquet .*delete it and run again"):
        read_measure(tmp_path, 3)


def test_a_part_of_other_values_is_not_believed(tmp_path: Path) -> None:
    _commit_part(tmp_path, 3, 0, a=1.0)
    pq.write_table(pa.table({"uid": ["a"], "score": [0.5]}), tmp_path / "00003-0.parquet")
    with pytest.raises(RunFailedError, match="other bytes than when it was committed"):
        read_measure(tmp_path, 3)


def test_a_part_that_was_deleted_is_the_next_to_be_made(tmp_path: Path) -> None:
    for part in range(3):
        _commit_part(tmp_path, 0, part, **{f"u{part}": float(part)})
    assert free_part(tmp_path, 0).name == "00000-3.json"
    (tmp_path / "00000-1.parquet").unlink()
    assert free_part(tmp_path, 0).name == "00000-1.json"
    rows = pa.table({"uid": ["u0", "u1", "u2"]})
    assert newcomers(rows, tmp_path, 0)["uid"].to_pylist() == ["u1"]
    _commit_part(tmp_path, 0, 1, u1=1.0)
    assert newcomers(rows, tmp_path, 0).num_rows == 0
