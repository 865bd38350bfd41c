"""From a decision to a corpus: what a sample holds, and that its bytes depend on nothing else."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from transforms.corpora.stage import cut_texts
from transforms.corpora.verify import verify_corpus
from transforms.shards.commit import Draft
from transforms.shards.pool import read_pool
from transforms.shards.tables import read_committed

Rebuild = Callable[..., Path]


def _samples(corpus: Path) -> dict[str, dict[str, bytes]]:
    """Key to extension to bytes over all tars, in their order."""
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted(corpus.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                samples.setdefault(key, {})[extension] = file.read()
    return samples


def _records(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(members["json"]) for members in _samples(corpus).values()]


def _files(corpus: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in corpus.iterdir() if path.is_file()}


def test_a_corpus_without_faults_verifies(corpus: Path) -> None:
    assert verify_corpus(corpus) == {"samples": 6, "shards": 3, "faults": []}


def test_an_image_is_one_sample_under_the_uid_of_its_first_row(corpus: Path) -> None:
    samples = _samples(corpus)
    pool = [
        row for shard in (0, 1) for row in read_pool(corpus.parents[2] / "pool", shard).to_pylist()
    ]
    uids = {row["row"]: row["uid"] for row in pool}
    assert list(samples) == [uids[row] for row in (0, 1, 4, 6, 7, 8)]
    images = [next(iter(members)) for members in samples.values()]
    assert images == ["jpg", "png", "jpg", "jpg", "jpg", "jpg"]
    assert all(list(members)[1:] == ["txt", "json"] for members in samples.values())


def test_the_best_caption_comes_first_and_is_the_text(corpus: Path) -> None:
    first = next(iter(_samples(corpus).values()))
    record = json.loads(first["json"])
    assert first["txt"].decode() == record["caption"] == 'a "best" caption'
    told = [(c["text"], c["source"], c["clip_score"]) for c in record["captions"]]
    assert told == [
        ('a "best" caption', "web", 0.5),
        ("one dog", "web", 0.25),
        ("eine Katze 🐱", "web", -0.1),
    ]
    assert len({caption["uid"] for caption in record["captions"]}) == 3


def test_a_record_has_the_facts_of_its_image(corpus: Path) -> None:
    record = _records(corpus)[1]
    assert record["url"] == "http://pool.test/1.jpg"
    assert record["sha256"] == f"{1:064x}"
    sides = [record[n] for n in ("width", "height", "original_width", "original_height")]
    assert sides == [24, 16, 48, 32]


def test_image_bytes_are_the_pools_but_for_webp(corpus: Path) -> None:
    pool = {}
    for path in sorted((corpus.parents[2] / "pool").glob("*.tar")):
        with tarfile.open(path) as tar:
            pool |= {m.name: tar.extractfile(m).read() for m in tar}  # pyright: ignore
    built = [members.get("jpg") or members["png"] for members in _samples(corpus).values()]
    *same, webp = (data for name, data in pool.items() if not name.startswith("000010001"))
    assert built[:-1] == same
    jpeg, original = (Image.open(io.BytesIO(data)).convert("RGB") for data in (built[-1], webp))
    assert built[-1][:2] == b"\xff\xd8"
    assert jpeg.size == original.size
    pairs = zip(jpeg.getpixel((5, 5)), original.getpixel((5, 5)), strict=True)  # pyright: ignore
    assert all(abs(one - other) < 12 for one, other in pairs)


@pytest.mark.parametrize(
    ("samples_per_shard", "sizes"), [(1, [1] * 6), (4, [4, 2]), (6, [6]), (100, [6])]
)
def test_shards_hold_so_many_samples(
    samples_per_shard: int, sizes: list[int], decided: Path, rebuild: Rebuild
) -> None:
    corpus = rebuild(decided, samples_per_shard=samples_per_shard)
    told = json.loads((corpus / "sizes.json").read_text())
    assert told == {f"{shard:05d}.tar": size for shard, size in enumerate(sizes)}
    assert [path.name for path in sorted(corpus.glob("*.tar"))] == list(told)
    assert verify_corpus(corpus)["faults"] == []


def test_the_bytes_do_not_depend_on_order_or_place(
    corpus: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    run = corpus.parents[2]
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(run, elsewhere, ignore=shutil.ignore_patterns("corpora", "commits"))
    assert _files(rebuild(elsewhere, backwards=True)) == _files(corpus)


def test_a_committed_shard_is_not_written_again(corpus: Path, rebuild: Rebuild) -> None:
    before = {path: path.stat().st_mtime_ns for path in corpus.glob("0*")}
    (corpus / "manifest.json").unlink()
    rebuild(corpus.parents[2])
    assert {path: path.stat().st_mtime_ns for path in corpus.glob("0*")} == before
    assert verify_corpus(corpus)["faults"] == []


def test_rows_of_one_image_are_never_parted(decided: Path) -> None:
    slices = list(cut_texts(str(decided / "decisions" / "f"), 1))
    assert [shard for shard, _ in slices] == list(range(6))
    assert [len(set(texts["image"].to_pylist())) for _, texts in slices] == [1] * 6
    assert slices[0][1].num_rows == 3


def test_what_keeps_nothing_builds_an_empty_corpus(decided: Path, rebuild: Rebuild) -> None:
    manifest = decided / "decisions" / "f" / "decision.json"
    none = read_committed(manifest, "texts.parquet").slice(0, 0)
    manifest.unlink()
    with Draft(manifest) as draft:
        pq.write_table(none, draft.path("texts.parquet"))
    corpus = rebuild(decided)
    assert list(corpus.glob("*.tar")) == []
    assert verify_corpus(corpus) == {"samples": 0, "shards": 0, "faults": []}


def test_a_shard_that_was_deleted_is_written_again(corpus: Path, rebuild: Rebuild) -> None:
    """Commit records lie apart from the tars: who deletes a corpus leaves them behind."""
    before = _files(corpus)
    shutil.rmtree(corpus)
    assert _files(rebuild(corpus.parents[2])) == before
