"""`pairmill evaluate`: captions against references or images, and retrieval over a corpus."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipelines.cli_options import Debug, Json
from schemas.errors import BadInputError

if TYPE_CHECKING:
    from transforms.evaluate.retrieval import Retrieval
    from transforms.score.clip_model import Clip

ClipName = Annotated[
    str, typer.Option(help="A CLIP model: `pocket`, local-dir:FOLDER, or open_clip's name.")
]
Pretrained = Annotated[
    str | None,
    typer.Option(help="With open_clip's name: its tag, or a checkpoint file.", show_default=False),
]
References = Mapping[str, Sequence[str]]

evaluate_app = typer.Typer(
    no_args_is_help=True, help="Measure captions, and retrieval over a corpus."
)


@evaluate_app.command()
def captions(
    candidates: Annotated[
        Path | None,
        typer.Argument(help="One caption an image: .jsonl, or COCO's .json.", show_default=False),
    ] = None,
    references: Annotated[
        Path | None, typer.Option(help="People's captions of the same images.", show_default=False)
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="A folder of the images: CLIPScore as well.", show_default=False),
    ] = None,
    first: Annotated[
        bool,
        typer.Option("--first", help="The first reference is the candidate, against the others."),
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Only references of this split.", show_default=False)
    ] = None,
    language: Annotated[
        str, typer.Option(help="Take captions_LANGUAGE where a line has it.")
    ] = "en",
    clip: ClipName = "pocket",
    pretrained: Pretrained = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """BLEU, METEOR, ROUGE-L and CIDEr against references; CLIPScore against the images."""
    from transforms.evaluate.caption_files import read_references
    from transforms.evaluate.captions import score_captions

    if references is None and images is None:
        raise BadInputError("There is nothing to measure against: give --references or --images.")
    theirs = (
        read_references(references, split=split, language=language)
        if references is not None
        else None
    )
    said, theirs = _first_against_rest(candidates, theirs) if first else (_read(candidates), theirs)
    found: dict[str, Any] = {"images": len(said)}
    if theirs is not None:
        found |= asdict(score_captions(said, theirs))
    if images is not None:
        found |= _clipscores(_load(clip, pretrained), images, said, theirs)
    _warn(said, theirs)
    print(json.dumps(found)) if as_json else _print_scores(found)


@evaluate_app.command()
def retrieval(
    corpus: Annotated[Path, typer.Argument(help="A folder of shards: KEY.jpg, KEY.txt, KEY.json.")],
    clip: ClipName = "pocket",
    pretrained: Pretrained = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Recall@1, 5 and 10 and NDCG@10 over a corpus: texts find images, images find texts."""
    from transforms.evaluate.corpus import CorpusSample, read_corpus
    from transforms.evaluate.embed import embed_all
    from transforms.evaluate.retrieval import measure_retrieval

    texts: list[tuple[str, ...]] = []

    def note(sample: CorpusSample) -> Any:
        texts.append(sample.texts)
        return sample.image

    samples = read_corpus(corpus)
    model = _load(clip, pretrained)
    size = model.policy.batch_size
    image = embed_all(map(note, samples), model.embed_images, size)
    text = embed_all((one for many in texts for one in many), model.embed_texts, size)
    found = measure_retrieval(image, text, [len(many) for many in texts])
    print(json.dumps(asdict(found))) if as_json else _print_retrieval(found)


def _read(candidates: Path | None) -> dict[str, str]:
    from transforms.evaluate.caption_files import read_candidates

    if candidates is None:
        raise BadInputError("There are no candidates: name their file, or take --first.")
    return read_candidates(candidates)


def _first_against_rest(
    candidates: Path | None, references: References | None
) -> tuple[dict[str, str], References]:
    """Each image's first reference as its candidate; images with only one are left out."""
    if candidates is not None or references is None:
        raise BadInputError("--first takes the candidates from --references: name that file only.")
    several = {image: texts for image, texts in references.items() if len(texts) > 1}
    if not several:
        raise BadInputError("--first wants images with at least two references; there are none.")
    said = {image: texts[0] for image, texts in several.items()}
    return said, {image: texts[1:] for image, texts in several.items()}


def _load(name: str, pretrained: str | None) -> "Clip":
    """Raises: BadInputError: there is no such model."""
    from pipelines.recipe import with_shipped_clip
    from transforms.score.clip_model import load_clip
    from transforms.score.policy import ClipPolicy

    return load_clip(with_shipped_clip(ClipPolicy(architecture=name, pretrained=pretrained)))


def _clipscores(
    model: "Clip", folder: Path, said: Mapping[str, str], references: References | None
) -> dict[str, float]:
    """CLIPScore and, where there are references, RefCLIPScore: means over the images."""
    import numpy as np

    from transforms.evaluate.clip_score import (
        PROMPT,
        clipscores,
        find_images,
        open_image,
        ref_clipscores,
    )
    from transforms.evaluate.embed import F32, embed_all

    def texts(many: Iterable[str]) -> F32:
        return embed_all((PROMPT + one for one in many), model.embed_texts, size)

    size = model.policy.batch_size
    files = find_images(folder, said)
    image = embed_all(map(open_image, files.values()), model.embed_images, size)
    text = texts(said.values())
    scores = clipscores(image, text)
    found = {"clipscore": float(scores.mean())}
    if references is not None:
        theirs = texts(one for of in said for one in references[of])
        starts = np.cumsum([len(references[of]) for of in said])[:-1]
        each = np.split(theirs, starts)
        found["ref_clipscore"] = float(ref_clipscores(scores, text, each).mean())
    return found


def _warn(said: Mapping[str, str], references: References | None) -> None:
    if references is None:
        return
    if missing := len(references.keys() - said.keys()):
        print(
            f"{missing:,} of {len(references):,} images with references have no candidate and do"
            " not count.",
            file=sys.stderr,
        )
    if len(said) == 1:
        print("CIDEr of a single image is 0: no word is rarer than another.", file=sys.stderr)


_NAMES = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "meteor": "METEOR (no synonyms)",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "clipscore": "CLIPScore",
    "ref_clipscore": "RefCLIPScore",
}


def _print_scores(found: Mapping[str, Any]) -> None:
    table = Table("measure", f"{found['images']:,} images", box=None)
    for key, name in _NAMES.items():
        if key in found:
            table.add_row(name, f"{found[key]:.4f}")
    Console().print(table)


def _print_retrieval(found: "Retrieval") -> None:
    title = f"{found.images:,} images, {found.texts:,} texts"
    table = Table("", "R@1", "R@5", "R@10", "NDCG@10", title=title, box=None)
    for name, way in (
        ("text to image", found.text_to_image),
        ("image to text", found.image_to_text),
    ):
        numbers = (way.recall_at_1, way.recall_at_5, way.recall_at_10, way.ndcg_at_10)
        table.add_row(name, *(f"{number:.4f}" for number in numbers))
    Console().print(table)
