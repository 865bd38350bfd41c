"""`make bench-capfilt`: does CapFilt help? Photographs with captions spoilt on purpose, curated in
four ways, over five seeds.

Half of the captions are another photograph's and a tenth is like the alt texts of the web. A web
caption is right if it is the photograph's own. A synthetic caption is right if it is closer (CIDEr)
to what five people said of its photograph than to what they said of 99 % of the others; how often
this judge accepts people's own captions and other photographs' is printed beside. No threshold was
chosen on this split, and no pocket model has seen it.
"""

import json
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
import yaml
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipelines.bench.contest import at_least, say
from pipelines.bench.machine import Mark, print_marks
from pipelines.demo.pictures import Picture, photographs
from pipelines.demo.run import RECIPE_FILE
from pipelines.recipe import Recipe
from transforms.capfilt.load import load_captioner, load_matcher
from transforms.capfilt.policy import CaptionerPolicy
from transforms.capfilt.rules import CapFiltRule, CaptionsRule, TopCaptionsRule
from transforms.capfilt.seeds import seeds_of
from transforms.evaluate.cider import CiderReferences, make_references
from transforms.score.clip import clip_scores
from transforms.score.clip_model import load_clip

SWAPPED, NOISE = 0.5, 0.1
BEST = 0.01  # of all photographs: a right caption's own is among these
CANDIDATES = 10  # as BLIP-2; CapFilt looks at the first
_BATCH, _THREADS = 32, 2
_T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}  # Student's t
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
    """Says whether a synthetic caption is right, by what people said of all photographs."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._people = make_references({p.name: list(p.captions) for p in pictures})
        self._heard: dict[tuple[str, str], bool] = {}

    def right(self, caption: str, name: str) -> bool:
        if (caption, name) not in self._heard:
            self._heard[caption, name] = _is_best(self._people, caption, name)
        return self._heard[caption, name]


def _is_best(people: CiderReferences, caption: str, name: str) -> bool:
    """Whether few photographs' references are as close to a caption as those of its own."""
    scores = people.score_each(caption)
    as_close = sum(score >= scores[name] for score in scores.values())
    return scores[name] > 0 and as_close <= max(1, BEST * len(scores))


def calibrate(pictures: Sequence[Picture], seed: int, asked: int = 300) -> Figures:
    """How often the judge accepts a caption that a person wrote of a photograph, which is then left
    out of what it compares with, and one of another photograph."""
    rng = random.Random(seed)
    some = rng.sample([p for p in pictures if len(p.captions) > 1], min(asked, len(pictures)))
    apart = {p.name: list(p.captions[1:]) for p in some}
    rest = {p.name: list(p.captions) for p in pictures}
    people = make_references(rest | apart)
    own = [_is_best(people, p.captions[0], p.name) for p in some]
    strange = [
        _is_best(people, other.captions[0], p.name)
        for p, other in zip(some, some[1:] + some[:1], strict=True)
    ]
    return {
        "judge_accepts_people": statistics.mean(own),
        "judge_accepts_strangers": statistics.mean(strange),
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
    seeds = [seeds_of(_bytes(web), policy.seed, policy.candidates) for web in webs]
    return _by_batches(load_captioner(policy).caption, webs, seeds)


def _cosines(
    webs: Sequence[Web], texts: Sequence[Sequence[str]], recipe: Recipe
) -> list[list[float]]:
    clip = load_clip(recipe.clip_model("pocket").model_copy(update={"threads": _THREADS}))
    size = clip.policy.batch_size
    images = np.concatenate([clip.embed_images(_open(some)) for some in _batches(webs, size)])
    flat = [text for own in texts for text in own]
    vectors = np.concatenate([clip.embed_texts(some) for some in _batches(flat, size)])
    owner = np.repeat(np.arange(len(webs)), [len(own) for own in texts])
    scores = iter(clip_scores(images[owner], vectors).tolist())
    return [[next(scores) for _ in own] for own in texts]


def _by_batches(model: Any, webs: Sequence[Web], asked: Sequence[Sequence[Any]]) -> list[Any]:
    pairs = list(zip(webs, asked, strict=True))
    return [
        answer
        for some in _batches(pairs, _BATCH)
        for answer in model(_open([web for web, _ in some]), [own for _, own in some])
    ]


def _batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[n : n + size] for n in range(0, len(items), size))


def _open(webs: Sequence[Web]) -> list[Image.Image]:
    return [Image.open(_file(web)).convert("RGB") for web in webs]


def _bytes(web: Web) -> bytes:
    return _file(web).read_bytes()


def _file(web: Web) -> Path:
    assert isinstance(web.picture.source, Path)
    return web.picture.source


def curate(webs: Sequence[Web], rows: pa.Table, at_least_clip: float, judge: Judge) -> Figures:
    """What each way of curating leaves: `images`, the share of photographs that end with a right
    caption, and `texts`, the share of captions that are right; and the ITM decision's own."""
    web = rows["clip-pocket+pocket.score"].to_numpy() >= at_least_clip
    first = pa.table({name: _first(rows[name], name) for name in rows.column_names})
    left = {
        "raw": [[True] for _ in webs],
        "clip": [[kept] if kept else [] for kept in web.tolist()],
    }
    right: dict[str, list[list[bool]]] = {
        name: [[one.right] * len(own) for one, own in zip(webs, kept, strict=True)]
        for name, kept in left.items()
    }
    right["capfilt"] = _chosen(CapFiltRule(clip="pocket"), first, webs, judge)
    right["topk"] = _chosen(TopCaptionsRule(), rows, webs, judge)
    found: Figures = {}
    for name, kept in right.items():
        flat = [one for own in kept for one in own]
        found[f"{name}_images"] = statistics.mean(any(own) for own in kept)
        found[f"{name}_texts"] = statistics.mean(flat) if flat else 0.0
    return found | _decision(webs, rows)


def _first(column: pa.ChunkedArray, name: str) -> Any:
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
        is_right = judge.right(line["caption"], web.picture.name) if line["text"] else web.right
        found[line["place"]].append(is_right)
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
    calibration = calibrate(pictures, seed=0)
    for seed in range(seeds):
        say(f"seed {seed + 1} of {seeds}")
        webs = spoil(pictures, seed)
        runs.append(curate(webs, measure(webs, seed, recipe), limit, judge))
        say(json.dumps(runs[-1]))
    _print_table(runs)
    print_marks("capfilt", _marks(runs, calibration))


if __name__ == "__main__":
    typer.run(main)
