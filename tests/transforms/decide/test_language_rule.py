"""The language rule: probabilities of the wanted languages, added up."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from transforms.decide.language import LanguageRule


def _judge(guesses: list[list[tuple[str, float]]], rule: LanguageRule) -> list[str | None]:
    kind = pa.map_(pa.string(), pa.float32())
    (verdict,) = rule.judge(pa.table({"language.languages": pa.array(guesses, kind)}), None)
    assert verdict.reason == "other_language"
    return [verdict.detail(i) if dropped else None for i, dropped in enumerate(verdict.dropped)]


def test_the_rule_adds_up_the_languages_wanted_and_keeps_the_boundary() -> None:
    guesses = [[("no", 0.5), ("en", 0.25), ("da", 0.25)], [("en", 1.0)], [("de", 1.0)], []]
    assert _judge(guesses, LanguageRule(keep=("en", "da"))) == [
        None,
        None,
        "de; en+da 0.000, limit 0.5",
        "und; en+da 0.000, limit 0.5",
    ]
    assert _judge(guesses[:1], LanguageRule(keep=("en",), at_least=0.25)) == [None]
    assert _judge(guesses[:1], LanguageRule(keep=("en",), at_least=0.26)) == [
        "no; en 0.250, limit 0.26"
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"keep": []},
        {"keep": ["en"], "at_least": 0},
        {"keep": ["en"], "at_least": 1.1},
    ],
)
def test_a_rule_that_could_keep_nothing_or_all_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LanguageRule(**settings)  # pyright: ignore[reportArgumentType]
