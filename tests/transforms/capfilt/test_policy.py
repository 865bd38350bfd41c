"""What is refused of a model's settings, and what makes two models the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.fingerprint import fingerprint
from transforms.capfilt.policy import PROMPTS, CaptionerPolicy, ItmPolicy, model_identity, question
from transforms.hub.policy import ModelPolicy, model_digest, weight_digests

ENDPOINT = {"backend": "endpoint", "url": "http://127.0.0.1:1/v1"}
BEAM = {"decoding": "beam"}


@pytest.mark.parametrize(
    ("settings", "most"), [({}, 20), (ENDPOINT, 60), ({"backend": "chat"}, 60)]
)
def test_who_is_asked_for_a_sentence_has_room_for_it(settings: dict[str, Any], most: int) -> None:
    assert CaptionerPolicy.model_validate({"model": "m", **settings}).max_tokens == most
    said = CaptionerPolicy.model_validate({"model": "m", "max_tokens": 7, **settings})
    assert said.max_tokens == 7


def test_what_a_chat_model_is_asked_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = CaptionerPolicy.model_validate({"model": "m", **ENDPOINT})
    before = model_identity(policy)
    assert before["prompt"] == question(policy)
    monkeypatch.setitem(PROMPTS, "en", "What is this?")
    assert model_identity(policy) != before
    assert "prompt" not in model_identity(CaptionerPolicy(model="m"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"candidates": 2, **BEAM}, "only `decoding: nucleus` gives several candidates"),
        ({"candidates": 2, "decoding": "greedy"}, "only `decoding: nucleus`"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens is over max_tokens"),
        ({"language": "zh"}, "blip captions in English only"),
        ({"language": "zh", "backend": "git"}, "git captions in English only"),
        ({"language": "zh", "backend": "blip2"}, "blip2 captions in English only"),
        ({"url": "http://127.0.0.1:1/v1"}, "`url` goes with backend endpoint"),
        ({"backend": "endpoint"}, "`url` goes with backend endpoint, which needs it"),
        ({**ENDPOINT, **BEAM}, "an endpoint samples"),
        ({"precision": "int8", "device": "cuda"}, "take 8bit or 4bit"),
        ({"precision": "8bit"}, "precision 8bit is for a GPU; on a CPU take int8"),
        ({"precision": "4bit", "device": "cpu:0"}, "precision 4bit is for a GPU"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        CaptionerPolicy.model_validate({"model": "m", **settings})
    (fault,) = refused.value.errors()
    assert words in fault["msg"]
    assert "\n" not in fault["msg"]


@pytest.mark.parametrize(
    "settings",
    [
        {"candidates": 10},
        {"decoding": "greedy"},
        {"min_tokens": 8, "max_tokens": 8},
        {"language": "zh", "backend": "chat"},
        {"language": "zh", **ENDPOINT},
        {"decoding": "greedy", **ENDPOINT},
        {"precision": "int8", "device": "cpu:0"},
        {"precision": "4bit", "device": "cuda:1"},
    ],
)
def test_what_goes_together_is_taken(settings: dict[str, Any]) -> None:
    policy = CaptionerPolicy.model_validate({"model": "m", **settings})
    assert policy.model_dump(include=set(settings)) == settings


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"model": ""}, "model"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"temperature": 0.0}, "temperature"),
        ({"repetition_penalty": 0.9}, "repetition_penalty"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": 65}, "candidates"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"retries": -1}, "retries"),
        ({"backend": "llava"}, "backend"),
        ({"candidate": 1}, "candidate"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CaptionerPolicy.model_validate({"model": "m", **settings})
    assert [fault["loc"] for fault in refused.value.errors()] == [(key,)]


def test_code_of_a_model_is_never_run_by_itself() -> None:
    assert not CaptionerPolicy(model="m").trust_remote_code
    assert not ItmPolicy(model="m").trust_remote_code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a model as far as an identity looks at them."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "vocab.txt", "chat_template.jinja"):
        (folder / name).write_bytes(name.encode() * 9)
    (folder / "README.md").write_text("read by nobody")
    return folder


def _captioner(folder: Path, **settings: Any) -> CaptionerPolicy:
    return CaptionerPolicy.model_validate({"model": str(folder), **settings})


def _identity(policy: CaptionerPolicy | ItmPolicy) -> str:
    return fingerprint(model_identity(policy))


def _everything(folder: Path) -> tuple[str, str, str | None, frozenset[str]]:
    policy = _captioner(folder)
    judge = ItmPolicy(model=str(folder))
    return _identity(policy), _identity(judge), model_digest(policy), weight_digests(policy)


def test_where_a_model_lies_is_no_part_of_it(folder: Path) -> None:
    before = _everything(folder)
    copy = folder.parent / "deeper" / "copy"
    shutil.copytree(folder, copy)
    assert _everything(copy) == before
    renamed = folder.rename(folder.with_name("renamed"))
    assert _everything(renamed) == before
    assert str(folder.parent) not in json.dumps(model_identity(_captioner(renamed)))
    (renamed / "README.md").write_text("another story")
    assert _everything(renamed) == before


def test_every_file_that_is_read_is_part_of_it(folder: Path) -> None:
    seen = {_identity(_captioner(folder))}
    digests = {model_digest(_captioner(folder))}
    names = [path.name for path in sorted(folder.iterdir()) if path.name != "README.md"]
    for number, name in enumerate(names, start=1):
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)
        seen.add(_identity(_captioner(folder)))
        digests.add(model_digest(_captioner(folder)))
        assert (len(seen), len(digests)) == (number + 1, number + 1), name


def test_only_weights_are_compared_between_models(folder: Path) -> None:
    before = weight_digests(_captioner(folder))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    assert weight_digests(_captioner(folder)) == before
    assert len(before) == 1
    (folder / "other.safetensors").write_bytes(b"other")
    assert not weight_digests(_captioner(folder)) & before


def test_code_that_comes_with_a_model_is_part_of_it_where_it_runs(folder: Path) -> None:
    """Another modeling file computes other numbers from the same weights."""
    code = folder / "modeling_own.py"
    code.write_text("SCALE = 1\n")
    trusted = _captioner(folder, trust_remote_code=True)
    before = _identity(trusted)
    code.write_text("SCALE = 2\n")
    assert _identity(trusted) != before


ELSEWHERE = [
    {"device": "cuda"},
    {"batch_size": 1},
    {"concurrency": 1},
    {"timeout_s": 1.0},
    {"retries": 0},
    {"api_key_env": "KEY"},
]
SAID = [
    {"candidates": 10},
    {"decoding": "greedy"},
    {"decoding": "beam"},
    {"top_p": 0.8},
    {"temperature": 0.7},
    {"repetition_penalty": 1.0},
    {"min_tokens": 1},
    {"max_tokens": 30},
    {"seed": 1},
    {"prompt": "a picture of"},
    {"prompt": ""},
    {"precision": "bf16"},
    {"threads": 2},
    {"backend": "git"},
    {"revision": "v2"},
]


@pytest.mark.parametrize("settings", ELSEWHERE, ids=str)
def test_how_the_work_is_cut_is_no_part_of_a_captioner(
    folder: Path, settings: dict[str, Any]
) -> None:
    assert _identity(_captioner(folder, **settings)) == _identity(_captioner(folder))


@pytest.mark.parametrize("settings", SAID, ids=str)
def test_what_changes_captions_is_part_of_a_captioner(
    folder: Path, settings: dict[str, Any]
) -> None:
    assert _identity(_captioner(folder, **settings)) != _identity(_captioner(folder))


def test_all_settings_of_captions_tell_captioners_apart(folder: Path) -> None:
    seen = {_identity(_captioner(folder, **settings)) for settings in SAID}
    assert len(seen) == len(SAID)


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"batch_size": 1}, False),
        ({"device": "cuda"}, True),
        ({"max_tokens": 20}, False),
        ({"precision": "bf16"}, False),
        ({"backend": "blip2"}, False),
    ],
    ids=str,
)
def test_what_changes_probabilities_is_part_of_a_filter(
    folder: Path, settings: dict[str, Any], same: bool
) -> None:
    plain = ItmPolicy(model=str(folder))
    changed = ItmPolicy.model_validate({"model": str(folder), **settings})
    assert (_identity(changed) == _identity(plain)) is same


def test_a_servers_model_is_named_with_its_url() -> None:
    one = CaptionerPolicy.model_validate({"model": "m", **ENDPOINT})
    other = one.model_copy(update={"url": "http://127.0.0.1:2/v1"})
    assert _identity(one) != _identity(other)
    assert _identity(one.model_copy(update={"api_key_env": "ANY"})) == _identity(one)


@pytest.mark.parametrize("kind", [CaptionerPolicy, ItmPolicy])
def test_a_hubs_model_is_its_name_and_revision(
    kind: type[CaptionerPolicy] | type[ItmPolicy],
) -> None:
    name = "someone/blip-large"
    policy: ModelPolicy = kind(model=name)
    assert model_digest(policy) is None
    assert weight_digests(policy) == frozenset()
    identities = {
        _identity(kind(model=name)),
        _identity(kind(model=name, revision="abc")),
        _identity(kind(model="someone/blip-base")),
    }
    assert len(identities) == 3
    assert model_identity(kind(model=name))["model"] == name
