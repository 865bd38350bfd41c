"""How langdetect does on short captions: `make bench-language`.

Needs a folder with captions.jsonl in several languages, as ../shared/data/flickr8k. Uses the
train split only.
"""

import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from pipelines.bench.machine import Mark, print_marks
from pipelines.demo.pictures import CAPTIONS_FILE, PhotoLine
from transforms.score.language import measure_languages

CAPTIONS = 1000
FOREIGN = ("de", "fr", "cs", "zh")
LIMITS = (0.5, 0.1)


def main(
    photos: Annotated[Path, typer.Option(help="A folder with captions.jsonl.")] = Path(
        "../shared/data/flickr8k"
    ),
) -> None:
    """Share of English captions that a limit drops, of others that it keeps, and the time."""
    lines = (photos / CAPTIONS_FILE).read_text(encoding="utf-8").splitlines()
    train = [line for line in map(PhotoLine.model_validate_json, lines) if line.split == "train"]
    rng = random.Random(0)
    rng.shuffle(train)
    english = [rng.choice(line.captions_en) for line in train[:CAPTIONS]]
    began_s = time.perf_counter()
    guesses = _english(english)
    marks = [_mark("ms a caption", 1000 * (time.perf_counter() - began_s) / len(english))]
    marks += [_mark(f"English lost at {x}", _share(g < x for g in guesses)) for x in LIMITS]
    for language in FOREIGN:
        guesses = _english(_foreign(train, language))
        marks += [_mark(f"{language} kept at {x}", _share(g >= x for g in guesses)) for x in LIMITS]
    print_marks("language", marks)


def _english(captions: list[str]) -> list[float]:
    """The probability of English that langdetect gives to each caption."""
    return [dict(guess).get("en", 0.0) for guess in measure_languages(captions).to_pylist()]


def _foreign(train: list[PhotoLine], language: str) -> list[str]:
    texts = [
        line.captions_zh[:1] if language == "zh" else [(line.multi30k or {}).get(language, "")]
        for line in train
    ]
    return [text for found in texts for text in found if text][:CAPTIONS]


def _share(found: Iterable[bool]) -> float:
    values = list(found)
    return sum(values) / len(values)


def _mark(name: str, value: float) -> Mark:
    return Mark(name=name, value=value, mark=None, holds=True)


if __name__ == "__main__":
    typer.run(main)
