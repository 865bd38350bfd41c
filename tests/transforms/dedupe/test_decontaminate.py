"""Decontamination: what matches an evaluation image goes, by the surest sign, and is told so."""

import hashlib
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, kept, settled, uid
from PIL import Image
from pydantic import ValidationError

from schemas.errors import BadInputError, RunFailedError
from schemas.outcome import Stage
from transforms.dedupe.decontaminate import DecontaminateRule, matches
from transforms.dedupe.hash_list import HASH_LIST_SCHEMA
from transforms.dedupe.hashes import image_hashes
from transforms.fetch.decode import decode
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.records import Decoded

Hashed = tuple[str, bytes, int]  # sha256, pixels, phash of a row
Known = tuple[str | None, bytes | None, int | None]  # the same of an evaluation image
few_examples = settings(max_examples=20)


def pinned_now(rule: DecontaminateRule) -> DecontaminateRule:
    return rule.pinned(rule.identity())


def sha256(number: int) -> str:
    return f"{number:064x}"


def pixels(number: int) -> bytes:
    return bytes([number] * 32)


def ones(count: int) -> int:
    """A hash that is so many bits from 0."""
    return (1 << count) - 1


def pool(rows: Sequence[Hashed]) -> pa.Table:
    return pa.table(
        {
            "row": pa.array(range(len(rows)), pa.int64()),
            "uid": pa.array([uid(row) for row in range(len(rows))], pa.string()),
            "image": pa.array(range(len(rows)), pa.int64()),
            "sha256": pa.array([row[0] for row in rows], pa.string()),
            "image_hash.pixels": pa.array([row[1] for row in rows], pa.binary(32)),
            "image_hash.phash": pa.array([row[2] for row in rows], pa.uint64()),
        }
    )


def evaluation(known: Sequence[Known]) -> pa.Table:
    names = [f"{place}.jpg" for place in range(len(known))]
    columns = [names, *([one[field] for one in known] for field in range(3))]
    return pa.table(
        [
            pa.array(column, kind)
            for column, kind in zip(columns, HASH_LIST_SCHEMA.types, strict=True)
        ],
        schema=HASH_LIST_SCHEMA,
    )


NUMBERS = st.integers(0, 3)
PHASHES = st.builds(lambda base, flips: base ^ ones(flips), st.sampled_from([0, ones(40) << 24]),
                    st.integers(0, 18))  # fmt: skip
POOLS = st.lists(
    st.tuples(NUMBERS.map(sha256), NUMBERS.map(pixels), PHASHES), max_size=6
)  # fmt: skip
SETS = st.lists(
    st.tuples(
        st.none() | NUMBERS.map(lambda n: sha256(n + 2)),
        st.none() | NUMBERS.map(lambda n: pixels(n + 2)),
        st.none() | PHASHES,
    ),
    max_size=6,
)


def by_hand(row: Hashed, known: Sequence[Known], within_bits: int) -> tuple[int, int, str] | None:
    """The first of the same bytes, or else of the same pixels, or else the nearest."""
    for field, way in enumerate(("bytes", "pixels")):
        for place, one in enumerate(known):
            if one[field] == row[field]:
                return place, 0, way
    far = [
        ((row[2] ^ one[2]).bit_count(), place)
        for place, one in enumerate(known)
        if one[2] is not None
    ]
    bits, place = min(far, default=(within_bits + 1, -1))
    return (place, bits, "bits") if bits <= within_bits else None


@given(POOLS, SETS, st.integers(0, 16))
def test_each_row_matches_what_it_matches_by_hand(
    rows: list[Hashed], known: list[Known], within_bits: int
) -> None:
    places, bits, ways = matches(pool(rows), evaluation(known), within_bits)
    assert places.shape == bits.shape == ways.shape == (len(rows),)
    for at, row in enumerate(rows):
        expected = by_hand(row, known, within_bits)
        assert (places[at] >= 0) == (expected is not None)
        if expected is not None:
            assert (places[at], bits[at], ways[at]) == expected


def test_the_surest_sign_counts() -> None:
    row = (sha256(1), pixels(1), 0)
    by_bits, by_pixels, by_bytes = (None, None, 0), (None, pixels(1), None), (sha256(1), None, None)
    for known, found in (
        ([by_bits, by_pixels, by_bytes], (2, 0, "bytes")),
        ([by_bits, by_pixels], (1, 0, "pixels")),
        ([(None, None, ones(4)), (None, None, ones(3)), (None, None, ones(3))], (1, 3, "bits")),
    ):
        places, bits, ways = matches(pool([row]), evaluation(known), 4)
        assert (places[0], bits[0], ways[0]) == found


def list_of(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


ROWS = pool(
    [
        (sha256(1), pixels(1), 0),  # bytes of a.jpg
        (sha256(9), pixels(9), ones(3)),  # three bits from b.jpg
        (sha256(9), pixels(9), ones(4)),
        (sha256(9), pixels(9), ones(5)),
        (sha256(9), pixels(9), ones(40)),
    ]
)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return list_of(tmp_path / "set.txt", [f"{sha256(1)} a.jpg", f"{0:016x} b.jpg"])


def test_the_ledger_names_the_evaluation_image_and_how_near_it_is(listed: Path) -> None:
    found = ends(DecontaminateRule(against=(listed,)), ROWS)
    assert [end and (end.detail, end.value, end.limit) for end in found] == [
        ("same bytes as a.jpg", 0, 4),
        ("3 bits from b.jpg; limit 4", 3, 4),
        ("4 bits from b.jpg; limit 4", 4, 4),
        None,
        None,
    ]
    assert {end.reason for end in found if end is not None} == {"evaluation_image"}
    assert DecontaminateRule.stage is Stage.DEDUPE


@pytest.mark.parametrize(("within_bits", "stays"), [(0, 4), (3, 3), (4, 2), (5, 1), (16, 1)])
def test_the_limit_is_in_bits(within_bits: int, stays: int, listed: Path) -> None:
    assert sum(kept(DecontaminateRule(against=(listed,), within_bits=within_bits), ROWS)) == stays


def test_a_row_that_stays_is_like_no_evaluation_image(listed: Path) -> None:
    rule = DecontaminateRule(against=(listed,))
    (verdict,) = rule.judge(ROWS, settled(rule, ROWS))
    assert verdict.detail(4) == "like no evaluation image"


def test_several_sets_are_looked_at_together(listed: Path, tmp_path: Path) -> None:
    other = list_of(tmp_path / "other.txt", [f"{ones(40):016x} c.jpg"])
    found = ends(DecontaminateRule(against=(listed, other), within_bits=0), ROWS)
    assert [end and end.detail for end in found] == [
        "same bytes as set.txt: a.jpg", None, None, None, "0 bits from other.txt: c.jpg; limit 0"
    ]  # fmt: skip


@few_examples
@given(POOLS, st.integers(0, 16), st.integers(0, 3))
def test_order_and_pieces_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Hashed], within_bits: int, seed: int
) -> None:
    lines = [f"{sha256(2)} a", f"{ones(7):016x} b", f"{ones(9):016x} c"]
    path = list_of(tmp_path_factory.mktemp("set") / "set.txt", lines)
    check_pieces(DecontaminateRule(against=(path,), within_bits=within_bits), pool(rows), seed)


def test_of_no_rows_none_is_dropped(listed: Path) -> None:
    assert ends(DecontaminateRule(against=(listed,)), pool([])) == []


def test_it_reads_its_hashes_once_and_gathers_no_row(listed: Path) -> None:
    rule = DecontaminateRule(against=(listed,))
    assert rule.whole_pool
    assert rule.gathers == ()
    assert rule.columns == ("sha256",)
    assert rule.measures == ("image_hash",)


@pytest.mark.parametrize(
    "wrong", [{"within_bits": -1}, {"within_bits": 17}, {"within_bits": 4.5}, {"against": ()}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DecontaminateRule(**{"against": (Path("set"),)} | wrong)


def picture(seed: int) -> Image.Image:
    """Smooth blots of colour, others for each seed."""
    blots = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blots).resize((320, 240), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def fetched(files: Sequence[bytes]) -> pa.Table:
    """Rows of these files as a pool has them once they are decoded and made smaller."""
    rows = []
    for data in files:
        decoded = decode(data, FetchPolicy(image_size_px=128))
        assert isinstance(decoded, Decoded)
        with Image.open(io.BytesIO(decoded.jpeg)) as image:
            hashes = image_hashes([image]).to_pylist()[0]
        rows.append((hashlib.sha256(data).hexdigest(), hashes["pixels"], hashes["phash"]))
    return pool(rows)


def test_pictures_of_a_folder_are_found_as_they_are_edited_and_turned(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "deep").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    turned = encoded(picture(2).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    (folder / "deep" / "turned.jpg").write_bytes(turned)
    same = encoded(picture(1), "PNG")
    (folder / "same.png").write_bytes(same)
    edited = encoded(picture(2).resize((200, 200)), "WEBP", quality=50)
    found = ends(
        DecontaminateRule(against=(folder,)),
        fetched([same, turned, edited, encoded(picture(3), "JPEG")]),
    )
    details = [end and end.detail for end in found]
    assert details[:2] == ["same bytes as same.png", "same bytes as deep/turned.jpg"]
    assert found[2] is not None
    assert found[2].detail.endswith(" bits from deep/turned.jpg; limit 4")
    assert found[3] is None


def test_what_the_pool_holds_pixel_for_pixel_is_told_as_such(tmp_path: Path) -> None:
    data = encoded(picture(1), "JPEG")
    decoded = decode(data, FetchPolicy())
    assert isinstance(decoded, Decoded)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "stored.jpg").write_bytes(decoded.jpeg)
    (end,) = ends(DecontaminateRule(against=(tmp_path / "set",)), fetched_whole(data))
    assert end is not None
    assert (end.detail, end.value) == ("same pixels as stored.jpg", 0)


def fetched_whole(data: bytes) -> pa.Table:
    decoded = decode(data, FetchPolicy())
    assert isinstance(decoded, Decoded)
    with Image.open(io.BytesIO(decoded.jpeg)) as image:
        hashes = image_hashes([image]).to_pylist()[0]
    return pool([(decoded.sha256, hashes["pixels"], hashes["phash"])])


def test_what_cannot_be_decoded_is_found_by_its_bytes(tmp_path: Path) -> None:
    data = b"no decoder knows this"
    (tmp_path / "odd.jpg").write_bytes(data)
    rows = pool([(hashlib.sha256(data).hexdigest(), pixels(0), 0), (sha256(1), pixels(0), 0)])
    found = ends(DecontaminateRule(against=(tmp_path,)), rows)
    assert [end and end.detail for end in found] == ["same bytes as odd.jpg", None]


def test_a_set_that_cannot_be_used_is_refused_before_anything_runs(tmp_path: Path) -> None:
    rule = DecontaminateRule(against=(tmp_path,))
    with pytest.raises(BadInputError, match="has no image or hash in it"):
        rule.check()
    gone = DecontaminateRule(against=(tmp_path / "gone",))
    with pytest.raises(BadInputError, match="gone does not exist"):
        gone.check()
    with pytest.raises(BadInputError, match="gone cannot be read: No such file"):
        gone.identity()


def test_a_set_edited_between_the_job_and_its_reading_is_told(listed: Path) -> None:
    rule = DecontaminateRule(against=(listed,))
    pinned = pickle.loads(pickle.dumps(pinned_now(rule)))
    assert settled(pinned, ROWS) == settled(rule, ROWS)
    list_of(listed, [f"{sha256(9)} other.jpg"])
    for bound in (pinned, pinned.pinned(pinned.identity())):
        with pytest.raises(RunFailedError, match="edited while the run went on: run again"):
            settled(bound, ROWS)
    assert kept(rule, ROWS) == [True, False, False, False, False]  # bound to nothing


@pytest.mark.parametrize("edit", ["content", "name", "more"])
def test_a_folder_edited_between_the_job_and_its_reading_is_told(edit: str, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(encoded(picture(1), "PNG"))
    pinned = pinned_now(DecontaminateRule(against=(tmp_path,)))
    assert settled(pinned, ROWS) is not None
    match edit:
        case "content":
            (tmp_path / "one.png").write_bytes(encoded(picture(2), "PNG"))
        case "name":
            (tmp_path / "one.png").rename(tmp_path / "two.png")
        case _:
            (tmp_path / "two.png").write_bytes(encoded(picture(1), "PNG"))
    with pytest.raises(RunFailedError, match="edited"):
        settled(pinned, ROWS)


def test_a_rule_is_the_same_wherever_its_set_lies_and_another_once_that_is_edited(
    listed: Path, tmp_path: Path
) -> None:
    rule = DecontaminateRule(against=(listed,))
    identity = rule.identity()
    moved = DecontaminateRule(against=(listed.rename(tmp_path / "moved.txt"),))
    assert moved.identity() == identity
    assert pinned_now(moved).identity() == identity
    assert moved.model_copy(update={"within_bits": 5}).identity() != identity
    list_of(tmp_path / "moved.txt", [f"{sha256(9)} other.jpg"])
    assert moved.identity() != identity


def test_a_pinned_rule_stays_the_one_it_was_bound_to_though_its_set_is_edited(
    listed: Path,
) -> None:
    pinned = pinned_now(DecontaminateRule(against=(listed,)))
    identity = pinned.identity()
    list_of(listed, [f"{sha256(9)} other.jpg"])
    assert pinned.identity() == identity


def test_one_set_needs_no_list_around_it(listed: Path) -> None:
    one = DecontaminateRule.model_validate({"against": str(listed)})
    assert one == DecontaminateRule(against=(listed,))
