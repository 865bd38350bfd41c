"""Languages: the same caption always has the same answer."""

import os
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from transforms.score.language import LanguageRule, measure_languages

CAPTIONS = [
    "a brown dog runs over the green grass in the park",
    "ein brauner Hund läuft über die grüne Wiese im Park",
    "un chien brun court dans l'herbe verte du parc",
    "一只棕色的狗在公园的绿草地上奔跑",
    "dog park",
    "12345 !!",
    "",
]
TOLD = measure_languages(CAPTIONS).to_pylist()


def _judge(guesses: list[list[tuple[str, float]]], rule: LanguageRule) -> list[str | None]:
    kind = pa.map_(pa.string(), pa.float32())
    (verdict,) = rule.judge(pa.table({"languages": pa.array(guesses, kind)}), None)
    assert verdict.reason == "other_language"
    return [verdict.detail(i) if dropped else None for i, dropped in enumerate(verdict.dropped)]


def test_clear_sentences_are_told() -> None:
    first = [guess[0][0] if guess else None for guess in TOLD]
    assert first[:4] == ["en", "de", "fr", "zh-cn"]
    assert TOLD[5] == TOLD[6] == []


@given(st.permutations(range(len(CAPTIONS))))
def test_an_answer_does_not_depend_on_the_captions_around_it(order: list[int]) -> None:
    told = measure_languages([CAPTIONS[place] for place in order]).to_pylist()
    assert told == [TOLD[place] for place in order]


def test_another_process_gives_the_same_answers() -> None:
    code = (
        "import sys; from transforms.score.language import measure_languages;"
        "print(measure_languages(sys.argv[1:]).to_pylist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *CAPTIONS],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(TOLD)


def test_the_rule_adds_up_the_languages_wanted_and_keeps_the_boundary() -> None:
    guesses = [[("no", 0.5), ("en", 0.25), ("da", 0.25)], [("en", 1.0)], [("de", 1.0)], []]
    assert _judge(guesses, LanguageRule(keep=("en", "da"))) == [
        None,
        None,
        "de 1.000; en+da 0.000, limit 0.5",
        "und 1.000; en+da 0.000, limit 0.5",
    ]
    assert _judge(guesses[:1], LanguageRule(keep=("en",), at_least=0.25)) == [None]
    assert _judge(guesses[:1], LanguageRule(keep=("en",), at_least=0.26)) == [
        "no 0.500; en 0.250, limit 0.26"
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"keep": []},
        {"keep": ["english"]},
        {"keep": ["en", "EN"]},
        {"keep": ["zh"]},
        {"keep": ["en"], "at_least": 0},
        {"keep": ["en"], "at_least": 1.1},
    ],
)
def test_a_rule_that_could_keep_nothing_or_all_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LanguageRule(**settings)  # pyright: ignore[reportArgumentType]


def test_an_unknown_code_is_told_with_those_there_are() -> None:
    with pytest.raises(ValidationError, match=r"no 'zh'; it has: .*zh-cn, zh-tw"):
        LanguageRule(keep=("zh",))
