"""img2dataset's own Downloader, in a process of its own, gives the same pool as ours."""

import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from schemas.errors import RunFailedError
from schemas.pair import POOL_SCHEMA, Failure
from transforms.fetch import img2dataset_engine
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.shard import make_pool_shard
from transforms.shards.commit import committed
from transforms.shards.tar import index_tar

# What img2dataset cannot know: why OpenCV made nothing of a body.
COARSER = {Failure.NOT_AN_IMAGE: Failure.BROKEN_IMAGE}


@pytest.fixture
def unit(site, draw, make_rows):
    site.answers |= {
        "/0": site.answer(200, draw(size=(200, 100))),
        "/1": site.answer(200, draw("PNG", seed=1)),
        "/page": site.answer(200, b"<html>no</html>"),
        "/huge": site.answer(200, b"x" * 60_001),
        "/endless": site.chunked(*[b"x" * 1000] * 61),
        "/empty": site.answer(200, b""),
        "/large": site.answer(200, draw("GIF", size=(160, 140))),
        "/gone": site.answer(410),
        "/down": site.answer(503),
        "/again": [site.answer(500), site.answer(200, draw(seed=2))],
        "/slow": site.trickle(b"x"),
        "/moved": site.answer(302, Location="/1"),
        "/loop": site.answer(302, Location="/loop"),
    }
    names = [*site.answers, "/missing", "/ä b", "/0"]
    pairs = [(f"http://a.demo.test{name}", f"«{at}»") for at, name in enumerate(names)]
    return make_rows([*pairs, ("file:///etc/passwd", "a file"), ("http://", "")])


@pytest.fixture
def policy(site):
    return FetchPolicy(
        engine="img2dataset",
        image_size_px=64,
        timeout_s=2,
        retries=1,
        backoff_s=0,
        max_bytes=60_000,
        max_pixels=20_000,
        resolve={"*.demo.test": site.address},
    )


def test_both_engines_say_the_same_of_the_same_server(tmp_path, unit, policy, site):
    make_pool_shard(unit, 7, tmp_path / "theirs", policy)
    asked = dict(site.asked)
    site.asked.clear()
    ours = policy.model_copy(update={"engine": "native"})
    make_pool_shard(unit, 7, tmp_path / "ours", ours)
    here, there = (pq.read_table(tmp_path / name / "00007.parquet") for name in ("ours", "theirs"))
    assert here.schema == there.schema
    assert here.schema.remove_metadata() == POOL_SCHEMA
    alike = ["url", "caption", "key", "row", "uid", "image", "repeated", "sha256"]
    alike += ["status", "width", "height", "original_width", "original_height"]
    assert there.select(alike).to_pylist() == here.select(alike).to_pylist()
    failures = [COARSER.get(failure, failure) for failure in here["failure"].to_pylist()]
    assert there["failure"].to_pylist() == failures
    assert set(failures) > {None, Failure.TIMEOUT, Failure.TOO_LARGE, Failure.TOO_MANY_PIXELS}
    kept = list(index_tar(tmp_path / "ours" / "00007.tar").items())
    assert [key for key, _ in kept] == list(index_tar(tmp_path / "theirs" / "00007.tar"))
    assert asked["/0"] == site.asked["/0"] == 1  # two rows, one image
    told = [
        {name: value for name, value in committed(path / "00007_stats.json").items()}
        for path in (tmp_path / "ours", tmp_path / "theirs")
    ]
    for name in ("images", "count", "successes", "failed_to_download", "failed_to_resize", "tar"):
        assert told[0][name] == told[1][name], name
    left = {path.name for path in (tmp_path / "theirs").iterdir()} - {".lock"}
    assert left == {"00007.tar", "00007.parquet", "00007_stats.json"}


def test_its_failure_as_a_whole_is_one_sentence(tmp_path, unit, policy, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    (tmp_path / "broken" / "img2dataset").mkdir(parents=True)
    (tmp_path / "broken" / "img2dataset" / "__init__.py").write_text("raise ImportError('no cv2')")
    with pytest.raises(RunFailedError, match=r"img2dataset could not do a shard: .*no cv2"):
        make_pool_shard(unit, 7, tmp_path / "pool", policy)
    assert not [path for path in (tmp_path / "pool").iterdir() if path.name != ".lock"]


def test_images_that_its_writer_lost_end_the_run(tmp_path, unit, policy, monkeypatch):
    monkeypatch.setattr(img2dataset_engine, "_run", lambda *_: None)
    monkeypatch.setattr(img2dataset_engine, "_results", lambda _: iter(()))
    with pytest.raises(RunFailedError, match="lost"):
        make_pool_shard(unit, 7, tmp_path, policy)


def test_its_process_ends_with_ours(tmp_path):
    """A worker that is killed closes its end of the pipe; the child must not outlive it."""
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import transforms.fetch.img2dataset_child as c, sys, threading\n"
            "threading.Thread(target=c._end_with_parent, daemon=True).start()\n"
            "print('up', flush=True)\nthreading.Event().wait()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"up\n"
        child.stdin.close()
        assert child.wait(timeout=60) == 1
