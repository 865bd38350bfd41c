"""`python -m pipelines.pocket.blip tower | captioner | itm | marks`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.pocket.terminal import run, say

app = typer.Typer(help="Train and measure the pocket captioner and ITM.", no_args_is_help=True)
HERE = Path(__file__).parent.parent
TOWER = Path("build/pocket/tower")

Shards = Annotated[Path, typer.Option(help="Universal shards of photographs to learn from.")]
TeacherDir = Annotated[Path, typer.Option(help="Folder of the teacher's TFLite files.")]
Cache = Annotated[Path, typer.Option(help="Where the views of photographs are kept.")]
Views = Annotated[int, typer.Option(min=1, help="Views of each photograph.")]
Tower = Annotated[Path, typer.Option(help="Where the common image tower is kept.")]
Drawn = Annotated[int, typer.Option(min=2, help="Scenes to draw.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps of training.")]
Photos = Annotated[int, typer.Option(min=2, help="Photographs in a batch.")]
Scenes = Annotated[int, typer.Option(min=2, help="Drawn scenes in a batch.")]
Rate = Annotated[float, typer.Option(help="Learning rate.")]
MatrixRate = Annotated[float, typer.Option(help="Muon's, of the layers' matrices.")]
Start = Annotated[Path | None, typer.Option(help="Go on from this model, of the same kind.")]
Threads = Annotated[int, typer.Option(min=1)]

_TEACHER, _CACHE = Path("../shared/models/teacher"), Path("build/pocket")


@app.command()
def tower(
    shards: Shards,
    teacher: TeacherDir = _TEACHER,
    out: Tower = TOWER,
    cache: Cache = _CACHE,
    views: Views = 6,
    steps: Steps = 2800,
    photos: Photos = 128,
    rate: Rate = 1.5e-3,
    matrix_rate: MatrixRate = 0.05,
    threads: Threads = 2,
    start: Start = None,
    seed: int = 0,
) -> None:
    """Teach the image tower that both models start from."""
    from pipelines.pocket.blip.tower import TowerPace
    from pipelines.pocket.blip.train import Source, train_tower

    source = Source(shards, teacher, cache, views, seed, threads, start)
    pace = TowerPace(steps=steps, photos=photos, rate=rate, matrix_rate=matrix_rate)
    train_tower(source, out, pace, say)


@app.command()
def captioner(
    shards: Shards,
    teacher: TeacherDir = _TEACHER,
    tower: Tower = TOWER,
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = HERE / "captioner",
    cache: Cache = _CACHE,
    views: Views = 6,
    steps: Steps = 2600,
    photos: Photos = 32,
    scenes: Scenes = 16,
    drawn: Drawn = 12_000,
    rate: Rate = 2e-3,
    matrix_rate: MatrixRate = 0.03,
    threads: Threads = 2,
    start: Start = None,
    seed: int = 0,
) -> None:
    """Train the captioner from the tower."""
    from pipelines.pocket.blip.lessons import Pace
    from pipelines.pocket.blip.train import Source, train_captioner

    source = Source(shards, teacher, cache, views, seed, threads, start)
    pace = Pace(steps=steps, photos=photos, scenes=scenes, rate=rate, matrix_rate=matrix_rate)
    train_captioner(source, tower, out, pace, drawn, say)


@app.command()
def itm(
    shards: Shards,
    teacher: TeacherDir = _TEACHER,
    tower: Tower = TOWER,
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = HERE / "itm",
    cache: Cache = _CACHE,
    views: Views = 6,
    steps: Steps = 2000,
    photos: Photos = 64,
    scenes: Scenes = 12,
    drawn: Drawn = 12_000,
    rate: Rate = 2e-3,
    matrix_rate: MatrixRate = 0.03,
    threads: Threads = 2,
    start: Start = None,
    seed: int = 1,
) -> None:
    """Train the ITM from the tower."""
    from pipelines.pocket.blip.lessons import Pace
    from pipelines.pocket.blip.train import Source, train_itm

    source = Source(shards, teacher, cache, views, seed, threads, start)
    pace = Pace(steps=steps, photos=photos, scenes=scenes, rate=rate, matrix_rate=matrix_rate)
    train_itm(source, tower, out, pace, drawn, say)


@app.command()
def marks(
    photos: Annotated[Path, typer.Option(help="Photographs with captions.jsonl.")] = Path(
        "../shared/data/flickr8k"
    ),
    captioner: Annotated[Path, typer.Option(help="The captioner's folder.")] = HERE / "captioner",
    itm: Annotated[Path, typer.Option(help="The ITM's folder.")] = HERE / "itm",
    split: Annotated[str, typer.Option(help="The split of the photographs.")] = "val",
    scenes: Annotated[int, typer.Option(min=0, help="Held-out scenes to draw.")] = 500,
    seed: int = 0,
) -> None:
    """Compute how good both models are; the last line is one JSON object."""
    from pipelines.pocket.blip.marks import measure

    report = measure(captioner, itm, photos=photos, split=split, scenes=scenes, seed=seed)
    for name, figure in report.items():
        say(f"{name} {figure:.4g}")
    print(json.dumps(report))


@app.command()
def temperatures(
    shards: Shards,
    captioner: Annotated[Path, typer.Option(help="The captioner's folder.")] = HERE / "captioner",
    at: Annotated[list[float] | None, typer.Option(help="A temperature; may be repeated.")] = None,
    seed: int = 0,
) -> None:
    """How good captions drawn at some temperatures are, of photographs that training kept apart."""
    from pipelines.pocket.blip.marks import by_temperature

    tried = at or [1.0, 0.7, 0.5, 0.3]
    for temperature, figure in by_temperature(captioner, shards, tried, seed).items():
        say(f"temperature {temperature:g}: CIDEr {figure:.3f}")


if __name__ == "__main__":
    run(app)
