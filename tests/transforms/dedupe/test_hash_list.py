"""Evaluation sets: folders, tars and lists of hashes, read as what they are or refused."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from schemas.errors import BadInputError
from transforms.dedupe.hash_list import (
    HASH_LIST_SCHEMA,
    digest_of,
    images_of,
    read_hashes,
)
from transforms.dedupe.hashes import image_hashes
from transforms.fetch.decode import decode
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.records import Decoded

SHA256, PHASH, PIXELS = "0123456789abcdef" * 4, "fedcba9876543210", "7f" * 32
KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}


def picture(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    """Smooth blots of colour, others for each seed."""
    blots = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, ending: str = ".png", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, KINDS.get(ending, ending[1:].upper()), **options)
    return out.getvalue()


def folder_of(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def tar_of(path: Path, files: Mapping[str, bytes], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    table = read_hashes(path)
    assert table.schema == HASH_LIST_SCHEMA
    return table.to_pylist()


def of_picture(data: bytes, image: Image.Image) -> dict[str, Any]:
    hashes = image_hashes([image.convert("RGB")]).to_pylist()[0]
    return {"sha256": hashlib.sha256(data).hexdigest(), **hashes}


WRITTEN = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".avif"]
FILES = {f"{name}{ending}": picture(n) for n, (name, ending) in enumerate(zip(
    ["b", "a", "deep/er/c", "deep/b", "z", "Y", "x y", "ü"], WRITTEN, strict=True
))}  # fmt: skip


def saved_files() -> dict[str, bytes]:
    return {name: encoded(image, Path(name).suffix) for name, image in FILES.items()}


@pytest.mark.parametrize("make", [folder_of, tar_of], ids=["folder", "tar"])
def test_every_image_of_a_set_is_named_and_hashed(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    files = saved_files()
    others = {"deep/labels.json": b"{}", "read.me": b"", "png": b"", ".png/inside.txt": b""}
    found = lines(make(tmp_path / "set.tar", files | others))
    assert sorted(line["name"] for line in found) == sorted(files)
    for line in found:
        name = line["name"]
        with Image.open(io.BytesIO(files[name])) as image:
            assert line == {"name": name, **of_picture(files[name], image)}


def test_a_folder_and_tars_of_the_same_images_are_one_set(tmp_path: Path) -> None:
    files = saved_files()
    backwards = dict(reversed(files.items()))

    def key(line: dict[str, Any]) -> str:
        return line["name"]

    folder = sorted(lines(folder_of(tmp_path / "set", files)), key=key)
    for name, mode in (("set.tar", "w"), ("set.tar.gz", "w:gz")):
        found = lines(tar_of(tmp_path / name, backwards, mode))
        assert found == sorted(found, key=key) == folder


def test_endings_may_be_in_capitals(tmp_path: Path) -> None:
    data = encoded(picture(1))
    assert [file.name for file in images_of(folder_of(tmp_path / "s", {"A.PNG": data}))] == [
        "A.PNG"
    ]
    assert [file.name for file in images_of(tar_of(tmp_path / "s.tar", {"A.PNG": data}))] == [
        "A.PNG"
    ]


def test_what_cannot_be_decoded_is_known_by_its_bytes(tmp_path: Path) -> None:
    data = encoded(picture(1), ".jpg")
    files = {"cut.jpg": data[: len(data) // 2], "empty.png": b"", "text.gif": b"no picture"}
    found = lines(folder_of(tmp_path / "set", files))
    assert found == [
        {"name": name, "sha256": hashlib.sha256(files[name]).hexdigest(), "pixels": None}
        | {"phash": None}
        for name in files
    ]


@settings(max_examples=30)
@given(
    st.sampled_from([".jpg", ".png", ".gif", ".webp", ".bmp"]),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=3),
)
def test_no_bytes_can_stop_a_set_from_being_read(
    tmp_path_factory: pytest.TempPathFactory,
    ending: str,
    share: float,
    changes: list[tuple[float, int]],
) -> None:
    data = bytearray(encoded(picture(1, 16, 12), ending))
    for place, value in changes:
        data[int(place * len(data))] = value
    broken = bytes(data[: int(share * len(data))])
    files = {f"broken{ending}": broken, "whole.png": encoded(picture(2, 16, 12))}
    found = lines(folder_of(tmp_path_factory.mktemp("broken") / "set", files))
    assert found[0]["sha256"] == hashlib.sha256(broken).hexdigest()
    assert found[1]["phash"] is not None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_hashed_as_it_is_shown_not_as_it_is_stored(
    orientation: int, tmp_path: Path
) -> None:
    undone = [
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    ][orientation - 1]
    upright = picture(3)
    stored = upright if undone is None else upright.transpose(undone)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, ".png", exif=exif)
    (line,) = lines(folder_of(tmp_path / "set", {"photo.png": data}))
    assert line == {"name": "photo.png", **of_picture(data, upright)}


def see_through(image: Image.Image) -> Image.Image:
    out = image.convert("RGBA")
    out.putalpha(image.convert("L").point([0] * 100 + [255] * 156))
    return out


def deep_grey(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


IN_MODES: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {
    "grey": (".png", lambda image: image.convert("L")),
    "black and white": (".png", lambda image: image.convert("1")),
    "palette": (".png", lambda image: image.quantize(32)),
    "see-through": (".png", see_through),
    "see-through grey": (".png", lambda image: see_through(image).convert("LA")),
    "see-through palette": (".gif", see_through),
    "CMYK": (".jpg", lambda image: image.convert("CMYK")),
    "grey of 16 bits": (".png", deep_grey),
}


@pytest.mark.parametrize("mode", IN_MODES)
def test_a_picture_in_any_mode_looks_as_it_does_in_a_pool(mode: str, tmp_path: Path) -> None:
    ending, make = IN_MODES[mode]
    data = encoded(make(picture(4)), ending)
    fetched = decode(data, FetchPolicy())
    assert isinstance(fetched, Decoded)
    with Image.open(io.BytesIO(fetched.jpeg)) as image:
        pool = image_hashes([image])["phash"][0].as_py()
    (line,) = lines(folder_of(tmp_path / "set", {f"one{ending}": data}))
    assert (line["phash"] ^ pool).bit_count() <= 4


def write_list(path: Path, columns: Mapping[str, list[Any]]) -> Path:
    table = pa.table(dict(columns))
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        pa_csv.write_csv(table, path)
    return path


def line(**known: Any) -> dict[str, Any]:
    return dict.fromkeys(HASH_LIST_SCHEMA.names) | known


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_table_may_hold_any_of_the_hashes_in_hex(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"list{ending}"
    columns = {"sha256": [SHA256.upper()], "phash": [PHASH.upper()], "pixels": [PIXELS.upper()]}
    whole = line(sha256=SHA256, phash=int(PHASH, 16), pixels=bytes.fromhex(PIXELS))
    more = {"name": ["one"], "something_else": [5]}
    assert lines(write_list(path, columns | more)) == [whole | {"name": "one"}]
    assert lines(write_list(path, {"sha256": [SHA256]})) == [line(name=SHA256, sha256=SHA256)]
    assert lines(write_list(path, {"phash": [PHASH]})) == [line(name=PHASH, phash=int(PHASH, 16))]
    assert lines(write_list(path, {"phash": [PHASH], "name": [""]}))[0]["name"] == PHASH


def test_a_parquet_may_hold_numbers_bytes_and_gaps(tmp_path: Path) -> None:
    numbers = pa.array([0, (1 << 64) - 1, None], pa.uint64())
    raw = pa.array([b"\7" * 32, None, b"\xff" * 32], pa.binary())
    names = ["a", "b", "c"]
    found = lines(
        write_list(tmp_path / "l.parquet", {"phash": numbers, "pixels": raw, "name": names})
    )
    assert [each["phash"] for each in found] == numbers.to_pylist()
    assert [each["pixels"] for each in found] == raw.to_pylist()
    assert [each["name"] for each in found] == names


def test_a_text_has_a_hash_a_line_of_either_kind_and_maybe_a_name(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{SHA256}  dir/a b.jpg\n\n  {PHASH.upper()} c.jpg  \r\n{SHA256.upper()}\n")
    assert lines(path) == [
        line(name="dir/a b.jpg", sha256=SHA256),
        line(name="c.jpg", phash=int(PHASH, 16)),
        line(name=SHA256, sha256=SHA256),
    ]


@pytest.mark.parametrize("text", [f"{PHASH}\n", f"{SHA256}\n{PHASH}\n"])
def test_a_hash_without_a_name_is_named_by_its_own_digits(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    assert [each["name"] for each in lines(path)] == text.split()


def test_a_table_in_which_rows_have_the_one_hash_or_the_other_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"name,sha256,phash\na,{SHA256},\nb,,{PHASH}\n")
    assert lines(path) == [
        line(name="a", sha256=SHA256),
        line(name="b", phash=int(PHASH, 16)),
    ]


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.dictionary(pa.int32(), pa.string())],
    ids=["large", "dictionary"],
)
def test_text_is_hex_digits_however_a_parquet_holds_it(kind: pa.DataType, tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    columns = {"sha256": pa.array([SHA256.upper()]).cast(kind), "phash": pa.array([PHASH])}
    assert lines(write_list(path, columns))[0]["sha256"] == SHA256
    with pytest.raises(BadInputError, match="hex digits"):
        read_hashes(write_list(path, {"sha256": pa.array(["no hash"]).cast(kind)}))


def refused(path: Path, because: str) -> None:
    """In one sentence that names the set."""
    with pytest.raises(BadInputError, match=because) as caught:
        read_hashes(path)
    said = str(caught.value)
    assert said.startswith(f"The evaluation set {path} ")
    rest = said.removeprefix(f"The evaluation set {path} ")
    assert "\n" not in said
    assert rest.endswith(".")
    assert ". " not in rest


def test_sets_without_an_image_or_a_hash_are_refused(tmp_path: Path) -> None:
    nothing = "has no image or hash in it"
    refused(folder_of(tmp_path / "empty", {}), nothing)
    refused(folder_of(tmp_path / "texts", {"a.json": b"", "deep/b.md": b""}), nothing)
    refused(tar_of(tmp_path / "empty.tar", {}), nothing)
    refused(tar_of(tmp_path / "texts.tar", {"a.json": b""}), nothing)
    (tmp_path / "blank.txt").write_text("\n \n")
    refused(tmp_path / "blank.txt", nothing)
    no_text = pa.array([], pa.string())
    refused(write_list(tmp_path / "none.parquet", {"sha256": no_text}), nothing)
    refused(write_list(tmp_path / "none.csv", {"phash": no_text}), nothing)


@pytest.mark.parametrize("name", ["gone", "gone.tar", "gone.csv", "gone.parquet", "gone.txt"])
def test_a_set_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    refused(tmp_path / name, f"{name} does not exist")
    with pytest.raises(BadInputError, match=f"{name} cannot be read: No such file"):
        digest_of(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tar", "a", "a.parquet", "a.csv", "a.jpg"])
def test_what_is_no_set_at_all_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x00\xff nothing of the kind")
    refused(tmp_path / name, "cannot be read: ")


def test_a_tar_that_ends_early_is_refused(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "whole.tar", {"a.png": encoded(picture(1))})
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:1000])
    refused(tmp_path / "cut.tar", "cannot be read: ")


BAD_HEX = {
    "sha256": [SHA256[1:], SHA256 + "0", "g" + SHA256[1:], "not known", "\u0661" * 64],
    "phash": [PHASH[1:], PHASH + "0", "-" + PHASH[1:], "0x" + PHASH[2:], "1_0" + PHASH[3:]],
    "pixels": [PIXELS[2:], "zz" + PIXELS[2:]],
}


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
@pytest.mark.parametrize(
    ("column", "bad"), [(column, bad) for column, all_bad in BAD_HEX.items() for bad in all_bad]
)
def test_what_is_no_hash_is_refused(column: str, bad: str, ending: str, tmp_path: Path) -> None:
    good = {"sha256": [SHA256] * 2, column: [*{"phash": [PHASH]}.get(column, [PIXELS]), bad]}
    good |= {"sha256": [SHA256, bad]} if column == "sha256" else {}
    digits = 16 if column == "phash" else 64
    refused(write_list(tmp_path / f"l{ending}", good), f"{bad}' is not {digits} hex digits")


@pytest.mark.parametrize("bad", ["ff", f"{PHASH[1:]}g", f"{SHA256}0", f"name.jpg {SHA256}"])
def test_a_line_of_a_text_that_is_no_hash_is_refused(bad: str, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(f"{SHA256}\n{bad}\n")
    refused(tmp_path / "l.txt", "hex digits")


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_table_without_a_column_of_hashes_is_refused(ending: str, tmp_path: Path) -> None:
    columns = {"name": ["a"], "md5": ["0" * 32], "pixels": [PIXELS]}
    path = write_list(tmp_path / f"l{ending}", columns)
    refused(path, "it has neither a column sha256 nor a column phash")


@pytest.mark.parametrize("number", [-1, 1.5])
def test_numbers_that_are_no_hash_are_refused(number: float, tmp_path: Path) -> None:
    refused(write_list(tmp_path / "l.parquet", {"phash": [number]}), "cannot be read: ")


def test_a_set_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    files = saved_files()
    for make, name in ((folder_of, "set"), (tar_of, "set.tar")):
        first = make(tmp_path / name, files)
        digest = digest_of(first)
        assert digest_of(first.rename(tmp_path / f"other-{name}")) == digest


@pytest.mark.parametrize("change", ["content", "name", "more", "fewer"])
def test_a_folder_whose_images_change_is_another_set(change: str, tmp_path: Path) -> None:
    files = saved_files()
    folder = folder_of(tmp_path / "set", files)
    before = digest_of(folder)
    match change:
        case "content":
            (folder / "deep/b.webp").write_bytes(b"other")
        case "name":
            (folder / "deep/b.webp").rename(folder / "deep/d.webp")
        case "more":
            (folder / "deep/copy.webp").write_bytes(files["deep/b.webp"])
        case _:
            (folder / "deep/b.webp").unlink()
    assert digest_of(folder) != before


def test_files_beside_the_images_are_no_part_of_a_set(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", saved_files())
    before = digest_of(folder)
    (folder / "labels.json").write_text("{}")
    assert digest_of(folder) == before


def test_the_same_bytes_are_another_list_in_another_form(tmp_path: Path) -> None:
    for name in ("l.txt", "l.csv"):
        (tmp_path / name).write_text(SHA256)
    assert digest_of(tmp_path / "l.txt") != digest_of(tmp_path / "l.csv")
    before = digest_of(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_text(SHA256 + "\n")
    assert digest_of(tmp_path / "l.txt") != before


def test_a_phash_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    """pandas makes floats of a column with gaps, and their low bits are lost."""
    pq.write_table(pa.table({"phash": [1.0, None]}), tmp_path / "list.parquet")
    with pytest.raises(BadInputError, match="phash is double, neither hex digits nor whole"):
        read_hashes(tmp_path / "list.parquet")
