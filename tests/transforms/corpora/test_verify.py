"""`verify` finds every fault that we can plant in a finished corpus, and says where it lies."""

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BadInputError
from transforms.corpora.verify import verify_corpus
from transforms.shards.commit import file_facts
from transforms.shards.tar import sample_writer

Samples = list[tuple[str, dict[str, bytes]]]


def _faults(corpus: Path) -> str:
    return "\n".join(verify_corpus(corpus)["faults"])


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def _samples(path: Path) -> Samples:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            found.setdefault(key, {})[extension] = tar.extractfile(member).read()  # pyright: ignore
    return list(found.items())


def _replace(corpus: Path, shard: str, samples: Samples) -> None:
    """Write a shard anew and let the manifest agree, so that only the samples are at fault."""
    with sample_writer(corpus / shard) as writer:
        for key, members in samples:
            writer.write(key, members)
    manifest = json.loads((corpus / "manifest.json").read_text())
    manifest["shards"][shard] |= file_facts(corpus / shard)
    (corpus / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["00001.tar", "sizes.json", "README.md"])
def test_a_flipped_bit_is_found(name: str, corpus: Path) -> None:
    _flip(corpus / name, (corpus / name).stat().st_size // 2)
    assert f"{name} has other bytes than the manifest's sha256" in _faults(corpus)


def test_a_flipped_bit_in_a_header_is_found(corpus: Path) -> None:
    _flip(corpus / "00001.tar", 3)
    assert "00001.tar has other bytes" in _faults(corpus)


def test_a_cut_tar_is_found(corpus: Path) -> None:
    size = (corpus / "00000.tar").stat().st_size
    os.truncate(corpus / "00000.tar", 900)
    assert f"00000.tar has 900 bytes, the manifest says {size}" in _faults(corpus)


@pytest.mark.parametrize("name", ["00002.tar", "sizes.json", "README.md"])
def test_a_missing_file_is_found(name: str, corpus: Path) -> None:
    (corpus / name).unlink()
    assert f"{name} is missing" in _faults(corpus)


def test_a_tar_too_many_is_found(corpus: Path) -> None:
    (corpus / "00003.tar").write_bytes((corpus / "00000.tar").read_bytes())
    assert _faults(corpus) == "00003.tar is not in the manifest"


@pytest.mark.parametrize("what", ["samples", "texts"])
def test_a_wrong_total_is_found_and_what_was_counted_is_told(what: str, corpus: Path) -> None:
    counted = verify_corpus(corpus)
    manifest = json.loads((corpus / "manifest.json").read_text()) | {what: 999}
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    found = verify_corpus(corpus)
    assert f"manifest.json says 999 {what}" in "\n".join(found["faults"])
    assert (found["samples"], found["shards"]) == (counted["samples"], counted["shards"])


def test_a_wrong_count_in_sizes_is_found_though_the_manifest_agrees(corpus: Path) -> None:
    sizes = json.loads((corpus / "sizes.json").read_text()) | {"00000.tar": 3}
    (corpus / "sizes.json").write_text(json.dumps(sizes, indent=1) + "\n")
    manifest = json.loads((corpus / "manifest.json").read_text())
    manifest["files"]["sizes.json"] = file_facts(corpus / "sizes.json")
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    assert _faults(corpus) == "sizes.json does not agree with the manifest"


def _set(extension: str, data: bytes) -> Callable[[Samples], Any]:
    return lambda samples: samples[0][1].update({extension: data})


def _other_caption(samples: Samples) -> None:
    samples[0][1]["txt"] += b"!"


def _fewer_captions(samples: Samples) -> None:
    record = json.loads(samples[0][1]["json"])
    record["captions"] = []
    samples[0][1]["json"] = json.dumps(record).encode()


def _rename(key: str) -> Callable[[Samples], Any]:
    def rename(samples: Samples) -> None:
        samples[0] = key, samples[0][1]

    return rename


PLANTED: dict[str, tuple[Callable[[Samples], Any], str]] = {
    "other caption": (_other_caption, "the json's caption is not the txt"),
    "json is a list": (_set("json", b"[]"), "the json's caption is not the txt"),
    "json is broken": (_set("json", b"{"), "txt or json cannot be read"),
    "txt is latin-1": (_set("txt", b"caf\xe9"), "txt or json cannot be read"),
    "no image": (_set("jpg", b"<html>"), "the image cannot be decoded"),
    "a cut image": (
        lambda samples: samples[0][1].update(jpg=samples[0][1]["jpg"][:-200]),
        "the image cannot be decoded",
    ),
    "a second image": (_set("png", b""), "members are jpg, json, png, txt"),
    "no txt": (lambda samples: samples[0][1].pop("txt"), "members are jpg, json; one of"),
    "upper case": (
        lambda samples: samples[0][1].update(JPG=samples[0][1].pop("jpg")),
        "members are JPG, json, txt",
    ),
    "a dot in a key": (_rename("two.dots"), "members are dots.jpg"),
    "a folder in a key": (_rename("folder/key"), "the key is not a plain name"),
    "a sample lost": (lambda samples: samples.pop(), "has 1 samples, the manifest says 2"),
    "a caption lost": (_fewer_captions, "texts, the manifest says"),
    "a key twice": (lambda samples: samples.append(samples[0]), "comes twice"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_sample_that_readers_cannot_use_is_found(fault: str, corpus: Path) -> None:
    plant, told = PLANTED[fault]
    samples = _samples(corpus / "00001.tar")
    plant(samples)
    _replace(corpus, "00001.tar", samples)
    found = _faults(corpus)
    assert told in found
    assert all(line.startswith("00001.tar") for line in found.splitlines())


def test_a_shard_written_anew_alike_has_no_fault(corpus: Path) -> None:
    """The ground on which the faults above are planted."""
    _replace(corpus, "00001.tar", _samples(corpus / "00001.tar"))
    assert _faults(corpus) == ""


def test_a_key_in_two_shards_is_found(corpus: Path) -> None:
    samples = [_samples(corpus / "00000.tar")[0], *_samples(corpus / "00001.tar")[1:]]
    _replace(corpus, "00001.tar", samples)
    assert f"key {samples[0][0]} comes twice" in _faults(corpus)


def test_members_that_lie_apart_are_found(corpus: Path) -> None:
    (key, members), other = _samples(corpus / "00001.tar")
    json_apart = {"json": members.pop("json")}
    _replace(corpus, "00001.tar", [(key, members), other, (key, json_apart)])
    assert f"key {key} comes twice, or its members lie apart" in _faults(corpus)


@pytest.mark.parametrize("name", ["../00000.tar", "/etc/passwd", "a/b.tar", ""])
def test_a_manifest_cannot_lead_out_of_the_folder(name: str, corpus: Path) -> None:
    manifest = json.loads((corpus / "manifest.json").read_text())
    manifest["shards"][name] = manifest["shards"].pop("00000.tar")
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInputError, match="is not the manifest of a corpus: see its 'shards"):
        verify_corpus(corpus)


WHOLE = '"samples": 0, "texts": 0, "files": {}'


@pytest.mark.parametrize(
    "text",
    [None, "{", "[]", "{}", f'{{{WHOLE}, "shards": []}}', f'{{{WHOLE}, "shards": {{"a": 5}}}}'],
)
def test_what_is_no_corpus_is_bad_input(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BadInputError, match=r"manifest\.json"):
        verify_corpus(tmp_path)
