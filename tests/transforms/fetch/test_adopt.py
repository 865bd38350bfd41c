"""A folder that img2dataset made is a pool, unchanged where it lies."""

import hashlib
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from pipelines.prepare import prepare
from pipelines.recipe_file import make_recipe
from schemas.errors import BadInputError, CorruptPoolError
from schemas.pair import POOL_SCHEMA, ROWS_SCHEMA, Failure, Status, make_uid
from transforms.fetch.adopt import adopt_shard, list_pool_shards, read_pool_columns
from transforms.shards.pool import PoolImages
from transforms.shards.tar import index_tar

IMG2DATASET = """
import json, sys
sys.modules["torch"] = None  # webdataset would import it
from img2dataset.downloader import Downloader
from img2dataset.resizer import Resizer
from img2dataset.writer import WebDatasetSampleWriter
folder, shard, columns = json.loads(sys.argv[1])
Downloader(
    sample_writer_class=WebDatasetSampleWriter,
    resizer=Resizer(image_size=64, resize_mode="keep_ratio_largest", resize_only_if_bigger=True),
    thread_count=2, save_caption=True, extract_exif=True, output_folder=folder,
    column_list=columns, timeout=5, number_sample_per_shard=1000, oom_shard_count=5,
    compute_hash="sha256", verify_hash_type=None, encode_format="jpg", retries=0,
    user_agent_token=None, disallowed_header_directives=None,
).download_shard((shard, f"{folder}/{shard}.feather"))
"""


def run_img2dataset(folder, shard, table):
    """As its multiprocessing distributor does it for one shard, with its own opener."""
    folder.mkdir(exist_ok=True)
    listed = folder / f"{shard}.feather"
    with pa.OSFile(str(listed), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    job = json.dumps([str(folder), shard, table.column_names])
    subprocess.run([sys.executable, "-c", IMG2DATASET, job], check=True, capture_output=True)


def rows_of(tar):
    """As the read stage numbers them."""
    columns = read_pool_columns(tar)
    urls, captions = columns["url"].to_pylist(), columns["caption"].to_pylist()
    made = [make_uid(url, caption) for url, caption in zip(urls, captions, strict=True)]
    uids = columns["uid"].to_pylist() if "uid" in columns.column_names else made
    rows = {
        "row": range(len(urls)),
        "uid": uids,
        "url": urls,
        "caption": captions,
        "image": [urls.index(url) for url in urls],
        "repeated": [uid in uids[:at] for at, uid in enumerate(uids)],
    }
    return pa.table({name: list(column) for name, column in rows.items()}, schema=ROWS_SCHEMA)


def test_what_img2dataset_made_is_adopted_as_it_lies(tmp_path, site, draw):
    site.answers |= {f"/{n}": site.answer(200, draw(seed=n, size=(128, 96))) for n in range(3)}
    site.answers |= {"/gone": site.answer(410), "/page": site.answer(200, b"<html>")}
    urls = [site.url(path) for path in ("/0", "/gone", "/1", "/page", "/2", "/missing")]
    uids = [f"{n:032x}" for n in range(len(urls))]
    captions = [f"a «{n}»" for n in range(len(urls))]
    table = pa.table({"url": urls, "caption": captions, "uid": uids})
    for shard in (0, 1):
        run_img2dataset(tmp_path / "theirs", shard, table)
    before = {path.name: path.read_bytes() for path in (tmp_path / "theirs").iterdir()}

    tars = list_pool_shards(tmp_path / "theirs")
    assert [tar.name for tar in tars] == ["00000.tar", "00001.tar"]
    rows = rows_of(tars[1])
    assert sorted(rows["uid"].to_pylist()) == uids
    manifest = adopt_shard(tars[1], rows, 1, tmp_path / "pool")

    assert manifest["tar"] == str(tars[1].resolve())
    assert (manifest["count"], manifest["successes"], manifest["images"]) == (6, 3, 6)
    ours = pq.read_table(tmp_path / "pool" / "00001.parquet")
    assert ours.schema.remove_metadata() == POOL_SCHEMA
    theirs = pq.read_table(tars[1].with_suffix(".parquet"))
    same = ["url", "caption", "uid", "key", "status", "width", "height", "original_width"]
    same += ["original_height", "exif", "sha256"]
    assert ours.select(same).to_pylist() == theirs.select(same).to_pylist()
    ends = dict(zip(ours["url"].to_pylist(), ours["failure"].to_pylist(), strict=True))
    why = [None, Failure.GONE, None, Failure.BROKEN_IMAGE, None, Failure.NOT_FOUND]
    assert ends == dict(zip(urls, why, strict=True))
    after = {path.name: path.read_bytes() for path in (tmp_path / "theirs").iterdir()}
    assert after == before
    assert adopt_shard(tars[1], rows, 1, tmp_path / "pool") == manifest


def make_pool(folder, draw, columns, kind="jpg", missing=()):
    """A pool of three rows, the last one failed, with these columns beside key and status."""
    folder.mkdir()
    keys = ["000000000", "000000001", "000000002"]
    images = [draw(seed=n, size=(40 + n, 30)) for n in range(2)]
    with webdataset.TarWriter(str(folder / "00000.tar")) as writer:
        for key, image in zip(keys, images, strict=False):
            if key not in missing:
                writer.write({"__key__": key, kind: image})
    status = [Status.SUCCESS, Status.SUCCESS, Status.NOT_DOWNLOADED]
    table = pa.table({"key": keys, "status": [str(text) for text in status], **columns})
    pq.write_table(table, folder / "00000.parquet")
    return folder / "00000.tar", images


FULL = {"url": ["a", "b", "c"], "caption": ["x", None, "z"]}


@pytest.mark.parametrize("kind", ["jpg", "jpeg", "png", "webp"])
def test_sizes_and_hashes_that_are_missing_are_taken_from_the_bytes(tmp_path, draw, kind):
    tar, images = make_pool(tmp_path / "theirs", draw, FULL, kind)
    adopt_shard(tar, rows_of(tar), 0, tmp_path / "pool")
    first, second, third = pq.read_table(tmp_path / "pool" / "00000.parquet").to_pylist()
    assert (first["width"], first["height"], first["original_width"]) == (40, 30, 40)
    assert (second["width"], second["sha256"]) == (41, hashlib.sha256(images[1]).hexdigest())
    assert second["caption"] == ""
    assert (third["failure"], third["status"]) == (Failure.OTHER, Status.NOT_DOWNLOADED)
    assert third["width"] is third["sha256"] is None
    assert third["error_message"]


def test_what_the_source_says_is_kept(tmp_path, draw):
    said = {"width": [7, None, None], "height": [8, None, None], "sha256": ["s", None, None]}
    typed = {name: pa.array(values) for name, values in said.items()}
    tar, _ = make_pool(tmp_path / "theirs", draw, FULL | typed)
    adopt_shard(tar, rows_of(tar), 0, tmp_path / "pool")
    first, second, _ = pq.read_table(tmp_path / "pool" / "00000.parquet").to_pylist()
    assert (first["width"], first["height"], first["sha256"]) == (7, 8, "s")
    assert (second["width"], second["height"]) == (41, 30)


@pytest.mark.parametrize(
    ("hashes", "images"),
    [(["s", "s", None], [0, 0, 2]), (["s", "t", None], [0, 1, 2]), ([None] * 3, [0, 1, 2])],
)
def test_rows_of_one_url_are_one_image_where_their_hashes_say_so(tmp_path, draw, hashes, images):
    """Each was fetched by itself: the same URL may have given another picture."""
    columns = {"url": ["a"] * 3, "caption": ["x", "y", "z"]}
    columns["sha256"] = pa.array(hashes, pa.string())
    make_pool(tmp_path / "theirs", draw, columns)
    run = tmp_path / "run"
    recipe = make_recipe({"input": {"pool": str(tmp_path / "theirs")}}, source=tmp_path / "r.yaml")
    prepare(recipe, run)
    rows = pq.read_table(run / "rows" / "00000.parquet")
    assert rows["image"].to_pylist() == images


def test_an_adopted_tar_that_was_changed_since_is_refused(tmp_path, draw):
    tar, (_, second) = make_pool(tmp_path / "theirs", draw, FULL)
    adopt_shard(tar, rows_of(tar), 0, tmp_path / "pool")
    with PoolImages(tmp_path / "pool", 0) as images:
        assert images.read("000000001") == ("jpg", second)
    data = bytearray(tar.read_bytes())
    data[index_tar(tar)["000000001"]["jpg"].offset + 40] ^= 1
    tar.write_bytes(data)
    with pytest.raises(CorruptPoolError, match=r"other bytes than when it was committed.*restore"):
        PoolImages(tmp_path / "pool", 0)


def test_a_success_without_its_image_is_a_failure(tmp_path, draw):
    tar, _ = make_pool(tmp_path / "theirs", draw, FULL, missing=("000000001",))
    manifest = adopt_shard(tar, rows_of(tar), 0, tmp_path / "pool")
    failures = pq.read_table(tmp_path / "pool" / "00000.parquet")["failure"].to_pylist()
    assert failures == [None, Failure.OTHER, Failure.OTHER]
    assert manifest["successes"] == 1


def test_where_there_is_no_url_a_samples_place_stands_for_it(tmp_path, draw):
    tar, _ = make_pool(tmp_path / "theirs", draw, {})
    columns = read_pool_columns(tar)
    assert columns.column_names == ["url", "caption", "image"]
    assert len(set(columns["image"].to_pylist())) == 3
    assert columns["url"].to_pylist() == [f"00000.tar/00000000{n}" for n in range(3)]
    assert columns["caption"].to_pylist() == [""] * 3


def test_shards_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("00010", "00002", "100000"):
        (tmp_path / f"{name}.tar").touch()
        (tmp_path / f"{name}.parquet").touch()
    assert [tar.stem for tar in list_pool_shards(tmp_path)] == ["00002", "00010", "100000"]


def test_what_is_no_pool_is_bad_input(tmp_path):
    with pytest.raises(BadInputError, match="does not exist"):
        list_pool_shards(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match=r"no \.tar files"):
        list_pool_shards(tmp_path)
    (tmp_path / "00003.tar").touch()
    with pytest.raises(BadInputError, match=r"no 00003\.parquet beside it"):
        list_pool_shards(tmp_path)


@pytest.mark.parametrize("ending", [".tar", ".parquet"])
@pytest.mark.parametrize("left", [0.0, 0.1, 0.3])
def test_a_shard_that_is_cut_short_is_corrupt_in_one_sentence(tmp_path, draw, ending, left):
    tar, _ = make_pool(tmp_path / "theirs", draw, FULL)
    rows = rows_of(tar)
    path = tar.with_suffix(ending)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
    with pytest.raises(CorruptPoolError, match="cannot be read") as raised:
        adopt_shard(tar, rows, 0, tmp_path / "pool")
    assert str(raised.value).count("\n") == 0
    assert str(path) in str(raised.value)


def test_a_source_that_changed_is_refused(tmp_path, draw):
    tar, _ = make_pool(tmp_path / "theirs", draw, FULL)
    rows = rows_of(tar).slice(0, 2)
    with pytest.raises(CorruptPoolError, match="other rows"):
        adopt_shard(tar, rows, 0, tmp_path / "pool")


def test_a_parquet_of_something_else_is_corrupt(tmp_path):
    (tmp_path / "00000.tar").touch()
    pq.write_table(pa.table({"url": ["a"]}), tmp_path / "00000.parquet")
    with pytest.raises(CorruptPoolError, match="no column 'key'"):
        read_pool_columns(tmp_path / "00000.tar")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("width", [2**40, 1, None]),
        ("width", ["wide", "x", "y"]),
        ("exif", [{"a": 1}, None, None]),
        ("caption", [["a"], ["b"], ["c"]]),
    ],
)
def test_a_column_of_another_type_is_told(tmp_path, draw, name, values):
    tar, _ = make_pool(tmp_path / "theirs", draw, {"url": ["a", "b", "c"], name: values})
    with pytest.raises(CorruptPoolError, match=rf"00000\.parquet .*its '{name}' is"):
        read_pool_columns(tar)


def test_a_missing_number_that_pandas_wrote_is_null(tmp_path, draw):
    widths = {"width": [40.0, float("nan"), float("nan")], "height": [30.0, 30.0, float("nan")]}
    tar, _ = make_pool(tmp_path / "theirs", draw, FULL | widths)
    adopt_shard(tar, rows_of(tar), 0, tmp_path / "pool")
    rows = pq.read_table(tmp_path / "pool" / "00000.parquet")
    assert rows["width"].to_pylist() == [40, 41, None]


def test_a_key_that_comes_twice_is_told(tmp_path, draw):
    tar, _ = make_pool(tmp_path / "theirs", draw, FULL)
    path = tar.with_suffix(".parquet")
    table = pq.read_table(path).set_column(0, "key", [["000000000", "000000000", "000000002"]])
    pq.write_table(table.set_column(2, "url", [["a", "a", "b"]]), path)
    assert read_pool_columns(tar)["image"].to_pylist()[0:2] == ["00000.tar/000000000 a"] * 2
    pq.write_table(table, path)
    with pytest.raises(CorruptPoolError, match="the key '000000000' comes twice"):
        read_pool_columns(tar)


def test_shards_with_and_without_uids_are_one_pool(tmp_path, draw):
    make_pool(tmp_path / "theirs", draw, FULL)
    make_pool(tmp_path / "more", draw, {**FULL, "url": ["d", "e", "f"], "uid": ["1" * 32] * 3})
    for path in (tmp_path / "more").iterdir():
        path.rename(tmp_path / "theirs" / path.name.replace("00000", "00001"))
    (tmp_path / "theirs" / "folder.tar").mkdir()
    recipe = make_recipe({"input": {"pool": str(tmp_path / "theirs")}}, source=tmp_path / "r.yaml")
    prepare(recipe, tmp_path / "run")
    parts = [pq.read_table(tmp_path / "run" / "rows" / f"0000{n}.parquet") for n in (0, 1)]
    assert parts[0]["uid"].to_pylist()[0] == make_uid("a", "x")
    assert parts[1]["uid"].to_pylist() == ["1" * 32] * 3
    assert parts[1]["repeated"].to_pylist() == [False, True, True]
