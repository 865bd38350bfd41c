"""A unit of rows becomes one committed pool shard, the same whatever order answers come in."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from schemas.errors import RunFailedError
from schemas.layout import pool_manifest
from schemas.pair import POOL_SCHEMA, ROWS_SCHEMA, Failure, Status, make_uid
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.pool import open_spool
from transforms.fetch.records import Decoded
from transforms.fetch.shard import make_pool_shard
from transforms.shards.commit import committed, file_facts
from transforms.shards.tar import index_tar, read_span

HOST = "http://img.demo.test"


@pytest.fixture
def policy(site):
    return FetchPolicy(
        image_size_px=64, timeout_s=5, backoff_s=0, resolve={"*.demo.test": site.address}
    )


@pytest.fixture
def unit(site, draw, make_rows):
    """Rows of eight images, two of them shared, with each end an image can come to."""
    site.answers |= {f"/{n}.jpg": site.answer(200, draw(seed=n)) for n in range(4)}
    site.answers["/cut.jpg"] = site.answer(200, draw(seed=9)[:900])
    site.answers["/page.jpg"] = site.answer(200, b"<html>no</html>")
    site.answers["/gone.jpg"] = site.answer(410)
    site.answers["/again.jpg"] = [site.answer(503), site.answer(200, draw(seed=8))]
    names = ["0.jpg", "cut.jpg", "1.jpg", "gone.jpg", "0.jpg", "page.jpg", "again.jpg", "2.jpg"]
    pairs = [(f"{HOST}/{name}", f"picture «{at}»") for at, name in enumerate(names)]
    return make_rows([*pairs, ("nonsense", ""), (f"{HOST}/gone.jpg", "too"), (f"{HOST}/3.jpg", "")])


def bytes_of(pool):
    return {name: (pool / name).read_bytes() for name in ("00007.tar", "00007.parquet")}


def test_every_row_ends_in_the_parquet_as_its_image_did(tmp_path, unit, policy):
    make_pool_shard(unit, 7, tmp_path, policy)
    table = pq.read_table(tmp_path / "00007.parquet")
    assert table.schema.remove_metadata() == POOL_SCHEMA
    for name in ROWS_SCHEMA.names:
        assert table[name].to_pylist() == unit[name].to_pylist()
    endings = zip(table["url"].to_pylist(), table["failure"].to_pylist(), strict=True)
    assert {url.rpartition("/")[2]: failure for url, failure in endings} == {
        **dict.fromkeys(["0.jpg", "1.jpg", "2.jpg", "3.jpg", "again.jpg"]),
        "cut.jpg": Failure.TRUNCATED,
        "page.jpg": Failure.NOT_AN_IMAGE,
        "gone.jpg": Failure.GONE,
        "nonsense": Failure.BAD_URL,
    }
    keys = dict(zip(table["image"].to_pylist(), table["key"].to_pylist(), strict=True))
    assert list(keys.values()) == [f"00007{index:04d}" for index in range(len(keys))]
    for row in table.to_pylist():
        assert (row["failure"] is None) == (row["status"] == Status.SUCCESS)
        assert (row["failure"] is None) == (row["error_message"] is None)
        assert (row["failure"] is None) == (row["sha256"] is not None)


def test_the_tar_has_each_image_once_in_the_order_of_the_rows(tmp_path, unit, policy, draw):
    make_pool_shard(unit, 7, tmp_path, policy)
    table = pq.read_table(tmp_path / "00007.parquet").to_pylist()
    samples = index_tar(tmp_path / "00007.tar")
    kept = [row["key"] for row in table if row["status"] == Status.SUCCESS]
    assert list(samples) == list(dict.fromkeys(kept))
    first = table[0]
    with (tmp_path / "00007.tar").open("rb") as file:
        members = {name: read_span(file, span) for name, span in samples[first["key"]].items()}
    assert list(members) == ["jpg", "txt", "json"]
    assert members["txt"].decode() == first["caption"]
    said = json.loads(members["json"])
    assert said == {name: first[name] for name in said}
    assert {"url", "caption", "key", "status", "exif", "sha256", "uid"} < set(said)
    with Image.open(io.BytesIO(members["jpg"])) as image:
        assert image.size == (first["width"], first["height"]) == (64, 48)
    assert (first["original_width"], first["original_height"]) == (80, 60)


# webdataset leaves the tar to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_webdataset_reads_it(tmp_path, unit, policy):
    make_pool_shard(unit, 7, tmp_path, policy)
    data = webdataset.WebDataset(str(tmp_path / "00007.tar"), shardshuffle=False).decode("pil")
    samples = list(data)
    assert len(samples) == 5
    assert {sample["jpg"].mode for sample in samples} == {"RGB"}


def test_rows_that_share_a_url_are_fetched_once(tmp_path, unit, policy, site):
    make_pool_shard(unit, 7, tmp_path, policy)
    assert site.asked.pop("/again.jpg") == 2  # its retry
    assert set(site.asked.values()) == {1}
    assert {request["host"] for request in site.requests} == {"img.demo.test"}


def test_two_runs_give_equal_bytes_whatever_the_order_of_answers(
    tmp_path, unit, policy, site, draw
):
    make_pool_shard(unit, 7, tmp_path / "first", policy)
    site.asked.clear()
    whole = site.answers["/0.jpg"]
    site.answers["/0.jpg"] = type(whole)(whole.parts, pause_s=0.2)  # the first comes last
    other = policy.model_copy(update={"concurrency": 3})
    make_pool_shard(unit, 7, tmp_path / "second", other)
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")


def test_the_manifest_counts_what_the_parquet_holds(tmp_path, unit, policy):
    manifest = make_pool_shard(unit, 7, tmp_path, policy)
    assert manifest == committed(pool_manifest(tmp_path, 7))
    assert manifest["tar"] == "00007.tar"
    assert manifest["images"] == 9
    assert (manifest["count"], manifest["successes"]) == (11, 6)
    assert (manifest["failed_to_download"], manifest["failed_to_resize"]) == (3, 2)
    assert manifest["status_dict"] == {
        "bad_url": 1,
        "gone": 2,
        "not_an_image": 1,
        "success": 6,
        "truncated": 1,
    }
    assert manifest["files"] == {name: file_facts(tmp_path / name) for name in bytes_of(tmp_path)}
    assert manifest["seconds"] == manifest["duration"] >= 0


def test_what_is_committed_is_not_fetched_again(tmp_path, unit, policy, site):
    manifest = make_pool_shard(unit, 7, tmp_path, policy)
    asked = site.asked.total()
    assert make_pool_shard(unit, 7, tmp_path, policy) == manifest
    assert site.asked.total() == asked


def test_nothing_but_the_shard_is_left_in_the_pool(tmp_path, unit, policy):
    make_pool_shard(unit, 7, tmp_path, policy)
    left = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert left == {"00007.tar", "00007.parquet", "00007_stats.json"}


def test_a_unit_without_any_image_is_a_shard_too(tmp_path, make_rows, policy):
    manifest = make_pool_shard(make_rows([("nonsense", "a")]), 7, tmp_path, policy)
    assert manifest["successes"] == 0
    assert index_tar(tmp_path / "00007.tar") == {}


def test_a_repeated_row_has_its_images_status(tmp_path, site, draw, policy):
    site.answers["/x"] = site.answer(200, draw())
    url = f"{HOST}/x"
    row = {"uid": make_uid(url, "a"), "url": url, "caption": "a", "image": 3}
    rows = [{**row, "row": 3, "repeated": True}, {**row, "row": 5, "repeated": True}]
    make_pool_shard(pa.Table.from_pylist(rows, schema=ROWS_SCHEMA), 7, tmp_path, policy)
    assert pq.read_table(tmp_path / "00007.parquet")["status"].to_pylist() == ["success"] * 2


def test_rows_out_of_order_are_a_mistake_of_the_caller(tmp_path, make_rows, policy):
    rows = make_rows([("http://a.test", "1"), ("http://b.test", "2"), ("http://a.test", "3")])
    with pytest.raises(ValueError, match="not adjacent"):
        make_pool_shard(rows.sort_by("row"), 7, tmp_path, policy)


def test_a_full_disk_ends_the_run_and_leaves_nothing(tmp_path, unit, policy, monkeypatch):
    def put(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transforms.fetch.pool.Spool.put", put)
    with pytest.raises(RunFailedError, match="full"):
        make_pool_shard(unit, 7, tmp_path, policy)
    assert not [path for path in tmp_path.iterdir() if path.name != ".lock"]


def test_a_spool_gives_back_what_was_just_put(tmp_path: Path) -> None:
    """Small images, so that they would still lie in a buffer."""
    with open_spool(tmp_path) as spool:
        for index, jpeg in enumerate([b"one", b"", b"three"]):
            sizes = dict.fromkeys(
                ("width_px", "height_px", "original_width_px", "original_height_px"), 1
            )
            spool.put(index, Decoded(jpeg=jpeg, exif="{}", sha256="", **sizes))
        assert [spool.jpeg(index) for index in range(3)] == [b"one", b"", b"three"]
