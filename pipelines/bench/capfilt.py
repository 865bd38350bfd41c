"""`make bench-capfilt`: does CapFilt help? Photographs with captions spoilt on purpose, curated in
four ways, over five seeds.

Half of the captions are another photograph's and a tenth is like the alt texts of the web. One
judge looks at all captions, people's and synthetic ones: right is what is closer (CIDEr) to what
other people said of the photograph than to what they said of 99 % of all others. How often it
accepts what a person said of the photograph, and of another, is printed beside: every share is too
low by what it misses. The ITM decision is measured by whose caption it is, which is known. No
threshold was chosen on this split, and no pocket model has seen it.
"""

import json
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
import yaml
from rich.console import Console
from rich.table import Table

from pipelines.bench.contest import at_least, say
from pipelines.bench.machine import Mark, print_marks
from pipelines.demo.pictures import Picture, open_picture, original_bytes, photographs
from pipelines.demo.run import RECIPE_FILE
from pipelines.recipe import Recipe
from schemas.texts import WEB
from transforms.capfilt.load import load_captioner, load_matcher
from transforms.capfilt.policy import CaptionerPolicy
from transforms.capfilt.rules import CapFiltRule, CaptionsRule, TopCaptionsRule
from transforms.capfilt.seeds import seeds_of
from transforms.evaluate.cider import make_references
from transforms.evaluate.embed import embed_all
from transforms.score.clip import clip_scores
from transforms.score.clip_model import load_clip

SWAPPED, NOISE = 0.5, 0.1
BEST = 0.01  # of all photographs: a right caption's own is among these
CANDIDATES = 10  # as BLIP-2; CapFilt looks at the first
_BATCH, _THREADS = 32, 2
_T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}  # Student's t
_ALT_TEXTS = (
    "IMG_{n}.JPG",
    "photo {n} of {m}",
    "Buy now - {m} % off",
    "image may contain: one or more people",
    "stock photo {n}",
    "Click to enlarge",
    "DSC0{n} | free download | wallpaper",
    "product image {m}",
    "untitled {m}",
    "logo-{m}x{m}.png",
)
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Web:
    """A photograph with the caption that the web has for it."""

    picture: Picture
    caption: str
    right: bool


def spoil(pictures: Sequence[Picture], seed: int) -> list[Web]:
    """Each photograph with one caption, most of them spoilt; the same for the same seed."""
    rng = random.Random(seed)
    order = rng.sample(range(len(pictures)), len(pictures))
    swapped, noisy = int(SWAPPED * len(order)), int(NOISE * len(order))
    others = dict(zip(order[:swapped], order[1:swapped] + order[:1], strict=True))
    found: list[Web] = []
    for place, picture in enumerate(pictures):
        caption, right = rng.choice(picture.captions), True
        if place in others:
            other = rng.choice(pictures[others[place]].captions)
            caption, right = other, other in picture.captions
        elif place in order[swapped : swapped + noisy]:
            numbers = {"n": rng.randint(1000, 9999), "m": rng.randint(10, 90)}
            caption, right = rng.choice(_ALT_TEXTS).format(**numbers), False
        found.append(Web(picture, caption, right))
    return found


class Judge:
    """Says whether a caption is right, by what other people said of all photographs."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        said = {picture.name: list(picture.captions) for picture in pictures}
        self._said, self._people = said, make_references(said)
        self._heard: dict[tuple[str, str], bool] = {}

    def right(self, caption: str, name: str) -> bool:
        """Whether few photographs' captions are as close to this one as those of its own, of which
        it is left out."""
        if (caption, name) not in self._heard:
            self._heard[caption, name] = self._is_best(caption, name)
        return self._heard[caption, name]

    def _is_best(self, caption: str, name: str) -> bool:
        scores = self._people.score_each(caption)
        if caption in self._said[name]:
            others = {name: [text for text in self._said[name] if text != caption]}
            apart = make_references(others, self._people.frequencies)
            scores[name] = apart.score(name, caption)
        as_close = sum(score >= scores[name] for score in scores.values())
        return scores[name] > 0 and as_close <= max(1, BEST * len(scores))


def calibrate(pictures: Sequence[Picture], judge: Judge, seed: int, asked: int = 300) -> Figures:
    """How often the judge accepts what a person said of a photograph, and of another."""
    some = random.Random(seed).sample(list(pictures), min(asked, len(pictures)))
    pairs = zip(some, some[1:] + some[:1], strict=True)
    return {
        "judge_accepts_people": statistics.mean(judge.right(p.captions[0], p.name) for p in some),
        "judge_accepts_strangers": statistics.mean(
            judge.right(other.captions[0], p.name) for p, other in pairs
        ),
    }


def measure(webs: Sequence[Web], seed: int, recipe: Recipe) -> pa.Table:
    """All texts of each photograph with their scores, as the rules read them."""
    policy = recipe.captioner_model("pocket")
    settings = {"candidates": CANDIDATES, "seed": seed, "threads": _THREADS}
    texts = _candidates(webs, policy.model_copy(update=settings))
    asked = [[web.caption, *own] for web, own in zip(webs, texts, strict=True)]
    judge = recipe.itm_model("pocket").model_copy(update={"threads": _THREADS, "batch_size": 128})
    matches = _by_batches(load_matcher(judge).match, webs, asked)
    cosines = _cosines(webs, asked, recipe)
    columns: dict[str, Any] = {
        "image": list(range(len(webs))),
        "caption": [web.caption for web in webs],
        "captions-pocket.texts": texts,
    }
    for name, scores in (("itm-pocket+pocket", matches), ("clip-pocket+pocket", cosines)):
        columns[f"{name}.score"] = [own[0] for own in scores]
        columns[f"{name}.synthetic"] = [own[1:] for own in scores]
    return pa.table(columns)


def _candidates(webs: Sequence[Web], policy: CaptionerPolicy) -> list[list[str]]:
    files = [original_bytes(web.picture) for web in webs]
    seeds = [seeds_of(data, policy.seed, policy.candidates) for data in files]
    return _by_batches(load_captioner(policy).caption, webs, seeds)


def _cosines(
    webs: Sequence[Web], texts: Sequence[Sequence[str]], recipe: Recipe
) -> list[list[float]]:
    clip = load_clip(recipe.clip_model("pocket").model_copy(update={"threads": _THREADS}))
    size = clip.policy.batch_size
    images = embed_all((open_picture(web.picture) for web in webs), clip.embed_images, size)
    vectors = embed_all((text for own in texts for text in own), clip.embed_texts, size)
    owner = np.repeat(np.arange(len(webs)), [len(own) for own in texts])
    scores = iter(clip_scores(images[owner], vectors).tolist())
    return [[next(scores) for _ in own] for own in texts]


def _by_batches(model: Any, webs: Sequence[Web], asked: Sequence[Sequence[Any]]) -> list[Any]:
    found: list[Any] = []
    for n in range(0, len(webs), _BATCH):
        images = [open_picture(web.picture) for web in webs[n : n + _BATCH]]
        found += model(images, asked[n : n + _BATCH])
    return found


def curate(webs: Sequence[Web], rows: pa.Table, at_least_clip: float, judge: Judge) -> Figures:
    """What each way of curating leaves: `images`, the share of photographs that end with a right
    caption, and `texts`, the share of captions that are right; and the ITM decision's own."""
    kept = rows["clip-pocket+pocket.score"].to_numpy() >= at_least_clip
    first = pa.table({name: _first(rows[name]) for name in rows.column_names})
    web = [judge.right(one.caption, one.picture.name) for one in webs]
    right: dict[str, list[list[bool]]] = {
        "raw": [[one] for one in web],
        "clip": [[one] if stays else [] for one, stays in zip(web, kept, strict=True)],
        "capfilt": _chosen(CapFiltRule(clip="pocket"), first, webs, judge),
        "topk": _chosen(TopCaptionsRule(), rows, webs, judge),
    }
    found: Figures = {}
    for name, texts in right.items():
        flat = [one for own in texts for one in own]
        found[f"{name}_images"] = statistics.mean(any(own) for own in texts)
        found[f"{name}_texts"] = statistics.mean(flat) if flat else 0.0
    return found | _decision(webs, rows)


def _first(column: pa.ChunkedArray) -> Any:
    """Of lists of candidates the first: CapFilt has one."""
    return [own[:1] for own in column.to_pylist()] if pa.types.is_list(column.type) else column


def _chosen(
    rule: CaptionsRule, rows: pa.Table, webs: Sequence[Web], judge: Judge
) -> list[list[bool]]:
    """Whether each surviving text of each photograph is right."""
    found: list[list[bool]] = [[] for _ in webs]
    (verdict,) = rule.judge(rows, None)
    assert verdict.chosen is not None
    for line in verdict.chosen.to_pylist():
        web = webs[line["place"]]
        caption = web.caption if line["text"] == WEB else line["caption"]
        found[line["place"]].append(judge.right(caption, web.picture.name))
    return found


def _decision(webs: Sequence[Web], rows: pa.Table) -> Figures:
    """Precision and recall of ITM >= 0.5 on the web captions."""
    kept = rows["itm-pocket+pocket.score"].to_numpy() >= CapFiltRule().at_least
    right = np.array([web.right for web in webs])
    return {
        "itm_precision": float(right[kept].mean()) if kept.any() else 0.0,
        "itm_recall": float(kept[right].mean()),
    }


def gain(runs: Sequence[Figures], name: str, over: str) -> float:
    """The lower end of the 95 % interval of a difference within a seed."""
    apart = [run[name] - run[over] for run in runs]
    return statistics.mean(apart) - interval(apart)


def interval(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean, by Student's t."""
    return _T_95[len(values)] * statistics.stdev(values) / len(values) ** 0.5


def _marks(runs: Sequence[Figures], calibration: Mapping[str, float]) -> list[Mark]:
    means = {name: statistics.mean(run[name] for run in runs) for name in runs[0]}
    marks = [at_least(name, value) for name, value in {**calibration, **means}.items()]
    for way in ("capfilt", "topk"):
        images, texts = (
            gain(runs, f"{way}_images", "clip_images"),
            gain(runs, f"{way}_texts", "raw_texts"),
        )
        marks.append(at_least(f"{way}_images_over_clip_at_95", images, 0.0))
        marks.append(at_least(f"{way}_texts_over_raw_at_95", texts, 0.0))
    return marks


def _print_table(runs: Sequence[Figures]) -> None:
    table = Table(title=f"{len(runs)} seeds, mean and 95 % interval, %", title_justify="left")
    for column in ("", "photographs with a right caption", "captions that are right"):
        table.add_column(column, justify="left" if not column else "right")
    for way in ("raw", "clip", "capfilt", "topk"):
        cells = [[run[f"{way}_{what}"] for run in runs] for what in ("images", "texts")]
        told = [f"{100 * statistics.mean(c):.1f} ± {100 * interval(c):.1f}" for c in cells]
        table.add_row(way, *told)
    Console().print(table)


def main(
    photos: Annotated[Path, typer.Option(help="Photographs with captions.jsonl.")] = Path(
        "../shared/data/flickr8k"
    ),
    split: str = "val",
    seeds: Annotated[int, typer.Option(min=2, max=6)] = 5,
    most: Annotated[int | None, typer.Option(help="At most so many photographs.")] = None,
) -> None:
    """Curate the spoilt photographs in four ways, and print what each leaves."""
    pictures = photographs(photos, split)[:most]
    content = yaml.safe_load(RECIPE_FILE.read_text())
    recipe = Recipe.model_validate(content)
    (limit,) = [step.content.at_least for step in recipe.rules if step.name == "clip_score"]
    judge, runs = Judge(pictures), list[Figures]()
    calibration = calibrate(pictures, judge, seed=0)
    for seed in range(seeds):
        say(f"seed {seed + 1} of {seeds}")
        webs = spoil(pictures, seed)
        runs.append(curate(webs, measure(webs, seed, recipe), limit, judge))
        say(json.dumps(runs[-1]))
    _print_table(runs)
    print_marks("capfilt", _marks(runs, calibration))


if __name__ == "__main__":
    typer.run(main)
