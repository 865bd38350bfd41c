"""Tars: equal samples give equal bytes, spans lead to the bytes, a cut is always noticed."""

import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import webdataset as wds
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CorruptPoolError
from transforms.shards.tar import BLOCK_BYTES, Span, index_tar, read_span, sample_writer

Samples = Mapping[str, Mapping[str, bytes]]

KEYS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=60)
DATA = st.binary(max_size=1500) | st.integers(0, 2000).map(bytes)  # zeros look like a tar's end
MEMBERS = st.dictionaries(st.sampled_from(["jpg", "txt", "json", "seg.png"]), DATA, min_size=1)

SMALL: Samples = {
    "a": {"jpg": b"j" * 700, "txt": b"text"},
    "b": {"jpg": b"", "txt": b"x" * 512, "json": b"{}"},
}


def _write(path: Path, samples: Samples) -> Path:
    with sample_writer(path) as writer:
        for key, members in samples.items():
            writer.write(key, members)
    return path


def _read(path: Path) -> dict[str, dict[str, bytes]]:
    with path.open("rb") as file:
        return {
            key: {extension: read_span(file, span) for extension, span in spans.items()}
            for key, spans in index_tar(path).items()
        }


@given(samples=st.dictionaries(KEYS, MEMBERS, max_size=6))
def test_what_is_written_is_read_back(
    samples: Samples, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = _write(tmp_path_factory.mktemp("tar") / "t.tar", samples)
    found = _read(path)
    assert found == samples
    assert list(found) == list(samples)


@given(samples=st.dictionaries(KEYS, MEMBERS, max_size=4))
def test_the_index_is_what_tarfile_finds(
    samples: Samples, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = _write(tmp_path_factory.mktemp("tar") / "t.tar", samples)
    ours = [
        (f"{key}.{extension}", span.offset, span.length)
        for key, spans in index_tar(path).items()
        for extension, span in spans.items()
    ]
    with tarfile.open(path) as tar:
        assert ours == [(member.name, member.offset_data, member.size) for member in tar]


def test_the_tar_is_plain_ustar_without_times_or_owners(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.tar", SMALL)
    assert path.read_bytes()[257:265] == b"ustar\x0000"
    with tarfile.open(path) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
            assert (member.uname, member.gname, member.mode) == ("", "", 0o444)
            assert member.type == tarfile.REGTYPE


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    one, two = (_write(tmp_path / name, SMALL).read_bytes() for name in ("1.tar", "2.tar"))
    assert one == two


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves it open
def test_members_of_a_sample_are_contiguous_for_webdataset(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.tar", SMALL)
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["a.jpg", "a.txt", "b.jpg", "b.txt", "b.json"]
    read = list(wds.WebDataset([str(path)], shardshuffle=False))
    assert [sample["__key__"] for sample in read] == ["a", "b"]
    assert read[0]["jpg"] == SMALL["a"]["jpg"]


def test_a_key_ends_at_the_first_dot_and_folders_do_not_count(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("./folder/k.seg.png", "./folder/k.txt"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"hi"))
        folder = tarfile.TarInfo("other")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    assert _read(tmp_path / "t.tar") == {"k": {"seg.png": b"hi", "txt": b"hi"}}


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    """Else the later member would be taken for the earlier one's picture."""
    for number, names in enumerate((("k.jpg", "k.jpg"), ("a/k.jpg", "b/k.jpg"))):
        path = tmp_path / f"{number}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name))
        with pytest.raises(CorruptPoolError, match=r"it has k\.jpg twice"):
            index_tar(path)


def _places(samples: Samples) -> Sequence[int]:
    """Every block's edge, and beside it, up to the first block of the end's zeros."""
    blocks = sum(1 + -(-len(data) // BLOCK_BYTES) for m in samples.values() for data in m.values())
    edges = range(0, (blocks + 2) * BLOCK_BYTES, BLOCK_BYTES)
    return [place for edge in edges for place in (edge, edge + 1, edge + 511)]


@pytest.mark.parametrize("size", _places(SMALL))
def test_a_tar_cut_anywhere_is_corrupt(size: int, tmp_path: Path) -> None:
    path = _write(tmp_path / "00003.tar", SMALL)
    os.truncate(path, size)
    with pytest.raises(CorruptPoolError):
        index_tar(path)


def test_a_tar_cut_after_a_member_of_zeros_is_corrupt(tmp_path: Path) -> None:
    """The zeros of a member must not be taken for the tar's end."""
    path = _write(tmp_path / "t.tar", {"a": {"bin": bytes(4096)}, "b": {"txt": b"lost"}})
    os.truncate(path, BLOCK_BYTES + 4096)
    with pytest.raises(CorruptPoolError):
        index_tar(path)


def test_a_damaged_header_is_corrupt_and_does_not_end_the_tar(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.tar", SMALL)
    data = bytearray(path.read_bytes())
    data[index_tar(path)["b"]["jpg"].offset - BLOCK_BYTES] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptPoolError):
        index_tar(path)


@pytest.mark.parametrize("data", [b"", b"no tar at all", b"x" * 2048])
def test_what_is_no_tar_is_corrupt(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(data)
    with pytest.raises(CorruptPoolError):
        index_tar(tmp_path / "t.tar")
    with pytest.raises(CorruptPoolError, match="No such file"):
        index_tar(tmp_path / "missing.tar")


def test_a_span_past_the_end_is_an_error_not_fewer_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    with (tmp_path / "f").open("rb") as file:
        assert read_span(file, Span(1, 2)) == b"bc"
        with pytest.raises(OSError, match="2 bytes wanted at 2, 1 are there"):
            read_span(file, Span(2, 2))
