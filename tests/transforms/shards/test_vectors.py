"""Embeddings of a shard: over all parts in their order, and only as they were committed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import RunFailedError
from transforms.shards.commit import Draft
from transforms.shards.measures import part_manifest, read_measure
from transforms.shards.vectors import read_vectors


def _commit(measure: Path, part: int, uids: list[str], image: np.ndarray, text: np.ndarray) -> None:
    manifest = part_manifest(measure, 0, part)
    with Draft(manifest) as draft:
        table = pa.table({"uid": pa.array(uids, pa.string())})
        pq.write_table(table, draft.path(f"{manifest.stem}.parquet"))
        for kind, vectors in (("image", image), ("text", text)):
            if uids:
                with draft.path(f"{manifest.stem}.{kind}.npy").open("wb") as file:
                    np.save(file, vectors)


@pytest.fixture
def measure(tmp_path: Path) -> Path:
    """Part 0 of two rows, part 1 of none, part 2 and part 10 of one each."""
    numbers = np.arange(12, dtype=np.float16).reshape(4, 3)
    parts = {0: (["a", "b"], numbers[:2]), 1: ([], numbers[:0])}
    parts |= {2: (["c"], numbers[2:3]), 10: (["d"], numbers[3:])}
    for part, (uids, vectors) in parts.items():
        _commit(tmp_path, part, uids, vectors, -vectors)
    return tmp_path


def test_all_parts_in_the_order_of_their_numbers(measure: Path) -> None:
    uids, images = read_vectors(measure, 0, "image")
    assert uids.to_pylist() == ["a", "b", "c", "d"] == read_measure(measure, 0)["uid"].to_pylist()
    assert images.dtype == np.float16
    assert images.tolist() == np.arange(12).reshape(4, 3).tolist()
    assert read_vectors(measure, 0, "text")[1].tolist() == (-images).tolist()


def test_a_shard_without_rows_has_no_vectors(measure: Path) -> None:
    uids, vectors = read_vectors(measure, 7, "image")
    assert (uids.to_pylist(), uids.type, vectors.shape) == ([], pa.string(), (0, 0))


def test_other_bytes_are_refused_of_the_kind_that_is_read(measure: Path) -> None:
    path = measure / "00000-2.image.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunFailedError, match=r"00000-2\.image\.npy cannot be read .*other bytes"):
        read_vectors(measure, 0, "image")
    assert len(read_vectors(measure, 0, "text")[0]) == 4


@pytest.mark.parametrize("name", ["00000-10.text.npy", "00000-0.parquet"])
def test_a_part_that_lost_a_file_is_refused(name: str, measure: Path) -> None:
    (measure / name).unlink()
    with pytest.raises(RunFailedError, match=rf"{name} cannot be read .*run again to make it anew"):
        read_vectors(measure, 0, "text")


def test_an_emptied_file_is_refused(measure: Path) -> None:
    (measure / "00000-0.text.npy").write_bytes(b"")
    with pytest.raises(RunFailedError, match="cannot be read"):
        read_vectors(measure, 0, "text")


def test_a_part_that_was_committed_without_embeddings_is_refused(tmp_path: Path) -> None:
    manifest = part_manifest(tmp_path, 0, 0)
    with Draft(manifest) as draft:
        pq.write_table(pa.table({"uid": ["a"]}), draft.path("00000-0.parquet"))
    with pytest.raises(RunFailedError, match=r"00000-0\.image\.npy is not committed"):
        read_vectors(tmp_path, 0, "image")
