"""How the language detectors do on short captions: `make bench-language`.

Ten languages. English, Chinese, German, French and Czech come from the train split of a folder
with captions.jsonl, as ../shared/data/flickr8k; the other five were written for this benchmark
and lie beside it in captions.json.
"""

import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from pipelines.bench.machine import Mark, print_marks
from pipelines.demo.pictures import CAPTIONS_FILE, PhotoLine
from schemas.errors import BadInputError
from transforms.measure.language import LanguagePolicy, load_detector, measure_languages
from transforms.shards.languages import likeliest, probability_of

OWN_CAPTIONS = Path(__file__).with_name("captions.json")
FROM_PHOTOS = ("en", "zh", "de", "fr", "cs")
CAPTIONS = 200  # of each of these
TIMED = 20  # of each language, in each round
ROUNDS = 5
LIMITS = (0.5, 0.1)
DETECTORS = ("langdetect", "fasttext", "lingua")


@dataclass(frozen=True)
class Captions:
    """What is read, and the language that each caption was written in."""

    texts: list[str]
    written_in: np.ndarray  # (captions,) of str


def main(
    photos: Annotated[Path, typer.Option(help="A folder with captions.jsonl.")] = Path(
        "../shared/data/flickr8k"
    ),
) -> None:
    """Time and accuracy of each detector, and what a limit on English loses and lets in."""
    by_language = _from_photos(photos) | json.loads(OWN_CAPTIONS.read_text(encoding="utf-8"))
    captions = Captions(
        [text for texts in by_language.values() for text in texts],
        np.repeat(list(by_language), [len(texts) for texts in by_language.values()]),
    )
    policies = _installed()
    # First what each says, then the time: so each has loaded what it needs.
    languages = {policy.detector: _languages(captions, policy) for policy in policies}
    marks = _times(policies, [text for texts in by_language.values() for text in texts[:TIMED]])
    for detector, found in languages.items():
        marks += _accuracies(detector, captions, found)
    print_marks("language", marks + _limits(captions, languages["langdetect"]))


def _from_photos(photos: Path) -> dict[str, list[str]]:
    """CAPTIONS of each language, of photographs drawn with a seed."""
    lines = (photos / CAPTIONS_FILE).read_text(encoding="utf-8").splitlines()
    train = [line for line in map(PhotoLine.model_validate_json, lines) if line.split == "train"]
    rng = random.Random(0)
    rng.shuffle(train)
    found = {
        "en": [rng.choice(line.captions_en) for line in train],
        "zh": [rng.choice(line.captions_zh) for line in train if line.captions_zh],
    }
    translated = [line.multi30k for line in train if line.multi30k]
    for code in FROM_PHOTOS[2:]:
        found[code] = [captions[code] for captions in translated if code in captions]
    return {code: found[code][:CAPTIONS] for code in FROM_PHOTOS}


def _installed() -> list[LanguagePolicy]:
    """A policy for each detector; what is not installed is said and left out."""
    policies = []
    for detector in DETECTORS:
        policy = LanguagePolicy(detector=detector)
        try:
            load_detector(policy)
        except BadInputError as err:
            print(f"Without {detector}: {err}")
            continue
        policies.append(policy)
    return policies


def _languages(captions: Captions, policy: LanguagePolicy) -> pa.ChunkedArray:
    return pa.chunked_array([measure_languages(captions.texts, policy)])


def _times(policies: Sequence[LanguagePolicy], texts: list[str]) -> list[Mark]:
    """Median over rounds of the time per caption; in each round every detector has its turn."""
    times_ms: dict[str, list[float]] = {policy.detector: [] for policy in policies}
    for _ in range(ROUNDS):
        for policy in policies:
            began_s = time.perf_counter()
            measure_languages(texts, policy)
            times_ms[policy.detector].append(1000 * (time.perf_counter() - began_s) / len(texts))
    return [
        _mark(f"{detector}: ms a caption", statistics.median(found))
        for detector, found in times_ms.items()
    ]


def _accuracies(detector: str, captions: Captions, found: pa.ChunkedArray) -> list[Mark]:
    """Share of captions whose likeliest code is right: of each language, and the mean of these."""
    tops = likeliest(found)
    tops[np.isin(tops, ["zh-cn", "zh-tw"])] = "zh"
    is_right = tops == captions.written_in
    shares = {code: is_right[captions.written_in == code].mean() for code in _codes(captions)}
    marks = [_mark(f"{detector}: accuracy, mean of languages", np.mean([*shares.values()]))]
    return marks + [_mark(f"{detector}: accuracy, {code}", x) for code, x in shares.items()]


def _limits(captions: Captions, found: pa.ChunkedArray) -> list[Mark]:
    """For a rule that keeps English: what langdetect's limit loses of it, and keeps of others."""
    english = probability_of(found, ("en",))
    others = [code for code in _codes(captions) if code != "en"]
    marks = []
    for limit in LIMITS:
        kept = {code: (english[captions.written_in == code] >= limit).mean() for code in others}
        lost = (english[captions.written_in == "en"] < limit).mean()
        marks.append(_mark(f"langdetect: English lost at {limit}", lost))
        marks.append(_mark(f"langdetect: others kept at {limit}", np.mean([*kept.values()])))
    return marks


def _codes(captions: Captions) -> list[str]:
    return list(dict.fromkeys(captions.written_in.tolist()))


def _mark(name: str, value: float | np.floating) -> Mark:
    return Mark(name=name, value=float(value), mark=None, holds=True)


if __name__ == "__main__":
    typer.run(main)
