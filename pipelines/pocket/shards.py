"""The shards that the pocket models are trained on, built by the mill itself from photographs.

`python -m pipelines.pocket.shards --photos DIR --out RUN` serves a folder of photographs on
loopback, runs the one graph over them (fetch, exact dedupe, build; no filter, since the captions
are people's), and prints the folder of the shards.
"""

from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from pipelines.demo.answers import Answer
from pipelines.demo.corpus import DOMAIN, LIST_FILE
from pipelines.demo.kinds import Kind
from pipelines.demo.pictures import Picture, photographs
from pipelines.demo.server import serve
from pipelines.recipe import Recipe
from pipelines.recipe_file import make_recipe
from pipelines.run import run_recipe

CORPUS = "photographs"


def build_shards(photos: Path, split: str, out: Path) -> Path:
    """Shards of one split, every photograph with all its English captions; gives their folder."""
    pictures = {_url(picture): picture for picture in photographs(photos, split)}
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(_list(pictures), out / LIST_FILE)
    answers = {
        url: Answer(kind=Kind.GOOD, picture=picture, number=number)
        for number, (url, picture) in enumerate(pictures.items())
    }
    with serve(answers) as resolve:
        report = run_recipe(_recipe(out / LIST_FILE, resolve), out, [])
    return Path(report.corpora[CORPUS])


def _url(picture: Picture) -> str:
    return f"http://photos.{DOMAIN}/{picture.name}.jpg"


def _list(pictures: dict[str, Picture]) -> pa.Table:
    pairs = [(url, text) for url, picture in pictures.items() for text in picture.captions]
    return pa.table({"url": [url for url, _ in pairs], "caption": [text for _, text in pairs]})


def _recipe(source: Path, resolve: dict[str, str]) -> Recipe:
    content = {
        "input": {"list": source.name},
        "fetch": {"resolve": resolve, "image_size_px": 288},
        "rules": [{"exact_duplicate": {}}],
        "corpora": {CORPUS: {"samples_per_shard": 500}},
    }
    return make_recipe(content, source=source)


def main(
    photos: Annotated[Path, typer.Option(help="A folder with captions.jsonl.")],
    out: Annotated[Path, typer.Option(help="The RUN folder; the same one resumes.")],
    split: Annotated[str, typer.Option(help="Which split of the photographs.")] = "train",
) -> None:
    """Build the shards and print their folder."""
    print(build_shards(photos, split, out))


if __name__ == "__main__":
    typer.run(main)
