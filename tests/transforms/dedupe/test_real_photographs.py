"""Real photographs: copies are found, other pictures are left, by the measures as they come."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from judging import kept, settled, uid
from PIL import Image

from transforms.dedupe.decontaminate import DecontaminateRule
from transforms.dedupe.exact import ExactDuplicateRule
from transforms.dedupe.hamming import near_pairs
from transforms.dedupe.hashes import image_hashes, pdq_hashes
from transforms.dedupe.near_duplicate import DEFAULT_LIMIT, NearDuplicateRule

SHARED = Path(__file__).parents[4] / "shared" / "data"
LIMIT = DEFAULT_LIMIT["phash"]
PAIRS_OF_A_GROUP = 3
U64 = npt.NDArray[np.uint64]


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the shared test photographs are not here: {'/'.join(parts)}")
    return path


def opened(paths: Iterable[Path]) -> Iterable[Image.Image]:
    for path in paths:
        with Image.open(path) as image:
            yield image.convert("RGB")


def rows_of(images: Iterable[Image.Image]) -> pa.Table:
    """A row for each photograph, as the rules read it."""
    held = list(images)
    hashes, sides = image_hashes(held), [image.size for image in held]
    return pa.table(
        {
            "row": pa.array(range(len(held)), pa.int64()),
            "uid": [uid(row) for row in range(len(held))],
            "image": pa.array(range(len(held)), pa.int64()),
            "original_width": pa.array([width for width, _ in sides], pa.int32()),
            "original_height": pa.array([height for _, height in sides], pa.int32()),
            "image_hash.phash": hashes["phash"],
            "image_hash.pixels": hashes["pixels"],
        }
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def reencoded() -> list[Path]:
    """Three encodings of each of 120 photographs, one after the other."""
    folder = shared("neardup", "reencodings")
    groups = read_lines(folder / "groups.jsonl")
    assert len(groups) == 120
    return [folder / group[encoding] for group in groups for encoding in "abc"]


@pytest.fixture(scope="module")
def reencoded_rows(reencoded: list[Path]) -> pa.Table:
    return rows_of(opened(reencoded))


def true_and_false_pairs(hashes: U64, limit: int) -> tuple[int, int]:
    """How many pairs within a limit are of one photograph, and how many of two."""
    found = near_pairs(hashes, limit)
    same = found.left // PAIRS_OF_A_GROUP == found.right // PAIRS_OF_A_GROUP
    return int(same.sum()), int((~same).sum())


def test_at_the_default_limit_copies_are_found_and_no_other_pictures(
    reencoded_rows: pa.Table,
) -> None:
    true, false = true_and_false_pairs(reencoded_rows["image_hash.phash"].to_numpy(), LIMIT)
    assert true / 360 >= 0.995
    assert false == 0


def test_pdq_too_finds_copies_and_no_other_pictures(reencoded: list[Path]) -> None:
    raw = b"".join(pdq_hashes(opened(reencoded))["hash"].to_pylist())
    hashes = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 4)
    true, false = true_and_false_pairs(hashes, DEFAULT_LIMIT["pdq"])
    assert true / 360 >= 0.99  # 358: the farthest two copies are 32 and 34 bits apart
    assert false == 0


def test_one_encoding_of_each_photograph_stays_the_largest(reencoded_rows: pa.Table) -> None:
    stays = np.array(kept(NearDuplicateRule(), reencoded_rows)).reshape(120, 3)
    assert stays.sum() == 120
    assert stays[:, 0].all()  # the first is that of most pixels


def test_the_finder_finds_all_that_have_a_copy(reencoded_rows: pa.Table) -> None:
    found = settled(NearDuplicateRule().finder, reencoded_rows)
    assert found is not None
    assert found["image"].to_pylist() == list(range(360))


def test_reencodings_are_no_exact_duplicates(reencoded_rows: pa.Table) -> None:
    assert all(kept(ExactDuplicateRule(of="pixels"), reencoded_rows))


EDITS = {  # in how many bits the hash of each differs from the original's
    "blur-a-little": 0,
    "blur-a-lot": 0,
    "high-contrast": 0,
    "high-saturation": 0,
    "sharpen-a-little": 0,
    "sharpen-a-lot": 4,
    "shrink-a-little": 0,
    "shrink-a-lot": 0,
    "square-128x128": 0,
    "square-256x256": 0,
    "square-512x512": 0,
}


def test_every_edit_of_the_bridge_is_within_the_default_limit() -> None:
    folder = shared("neardup", "bridge")
    rows = rows_of(opened(folder / f"{name}.jpg" for name in ("aaa-orig", *EDITS)))
    hashes = rows["image_hash.phash"].to_numpy()
    bits = np.bitwise_count(hashes[1:] ^ hashes[0])
    assert dict(zip(EDITS, bits.tolist(), strict=True)) == EDITS
    assert max(EDITS.values()) <= LIMIT
    assert sum(kept(NearDuplicateRule(keep="first"), rows)) == 1


def natural_pairs() -> list[tuple[str, list[Path]]]:
    """Pairs of photographs as they were found, and what they were labelled."""
    pairs = read_lines(shared("neardup", "natural_pairs.jsonl"))
    photographs = shared("flickr8k")
    found = [(pair["label"], [photographs / pair[side] for side in "ab"]) for pair in pairs]
    labels = {label for label, _ in found}
    assert labels == {"exact_duplicate", "same_scene", "different_photo_hard_negative"}
    return found


def test_of_natural_pairs_only_the_exact_duplicate_is_merged() -> None:
    for label, paths in natural_pairs():
        rows = rows_of(opened(paths))
        is_duplicate = label == "exact_duplicate"
        stays = [True, not is_duplicate]
        assert kept(NearDuplicateRule(keep="first"), rows) == stays, paths
        assert kept(ExactDuplicateRule(keep="first", of="pixels"), rows) == stays, paths


def test_all_natural_pairs_together_lose_that_one_photograph_only() -> None:
    paths = list({path: None for _, pair in natural_pairs() for path in pair})
    assert sum(kept(NearDuplicateRule(), rows_of(opened(paths)))) == len(paths) - 1


def test_photographs_whose_copies_are_for_evaluation_go_and_others_stay(
    reencoded: list[Path], reencoded_rows: pa.Table
) -> None:
    """The squashed encodings are the evaluation set."""
    folder = shared("neardup", "reencodings", "c_squash224")
    rule = DecontaminateRule(against=(folder,))
    digests = pa.array([f"{row:064x}" for row in range(360)])
    rows = reencoded_rows.append_column("sha256", digests)
    outcome = settled(rule, rows)
    (verdict,) = rule.judge(rows, outcome)
    assert verdict.dropped.all()
    for row, path in enumerate(reencoded):
        told = verdict.detail(row)
        assert path.name in told
        assert told.startswith("same pixels as " if row % 3 == 2 else "")
    bridge = rows_of(opened([shared("neardup", "bridge", "aaa-orig.jpg")]))
    bridge = bridge.append_column("sha256", digests[:1])
    (verdict,) = rule.judge(bridge, outcome)
    assert not verdict.dropped.any()


def test_a_photograph_that_its_exif_turns_is_found_as_it_is_shown(tmp_path: Path) -> None:
    photo = shared("odd_photos", "exif-rotation-6.jpg")
    (tmp_path / photo.name).write_bytes(photo.read_bytes())
    with Image.open(photo) as image:
        upright = image.convert("RGB").transpose(Image.Transpose.ROTATE_270)
    rows = rows_of([upright]).append_column("sha256", pa.array(["0" * 64]))
    rule = DecontaminateRule(against=(tmp_path,))
    (verdict,) = rule.judge(rows, settled(rule, rows))
    assert verdict.detail(0) == f"same pixels as {photo.name}"
