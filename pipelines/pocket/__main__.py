"""`python -m pipelines.pocket train | evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.pocket.model import MODEL_DIR
from pipelines.pocket.settings import Settings
from pipelines.pocket.terminal import run, say

DEFAULT = Settings()
app = typer.Typer(help="Train and evaluate the pocket CLIP.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")]
ModelDir = Annotated[Path, typer.Option(help="The model's folder.")]


@app.command()
def train(
    shards: Annotated[Path, typer.Option(help="Universal shards of photographs to learn from.")],
    teacher: Annotated[Path, typer.Option(help="Folder of the teacher's TFLite files.")] = Path(
        "../shared/models/teacher"
    ),
    no_teacher: Annotated[
        bool, typer.Option("--no-teacher", help="Learn by captions alone: for tests.")
    ] = False,
    out: ModelDir = MODEL_DIR,
    cache: Annotated[Path, typer.Option(help="Where the views of photographs are kept.")] = Path(
        "build/pocket"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps of the image tower.")] = DEFAULT.steps,
    text_epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the text tower.")
    ] = DEFAULT.text_epochs,
    views: Annotated[int, typer.Option(min=1, help="Views of each photograph.")] = DEFAULT.views,
    photos: Annotated[int, typer.Option(min=4, help="Photographs in a batch.")] = DEFAULT.photos,
    scenes: Annotated[int, typer.Option(min=2, help="Drawn scenes in a batch.")] = DEFAULT.scenes,
    drawn: Annotated[int, typer.Option(min=2, help="Scenes to draw.")] = DEFAULT.drawn,
    threads: Annotated[int, typer.Option(min=1)] = DEFAULT.threads,
    rate: Annotated[float, typer.Option(help="Learning rate of the image tower.")] = DEFAULT.rate,
    blend: Annotated[
        float, typer.Option(min=0, max=0.5, help="Up to what share photographs are mixed.")
    ] = DEFAULT.blend,
    start: Annotated[
        Path | None, typer.Option(help="Go on from this model, made by the same shards and seed.")
    ] = None,
    seed: int = DEFAULT.seed,
    as_json: Json = False,
) -> None:
    """Train the pocket CLIP on shards that Pairmill built, and on drawn scenes."""
    from pipelines.pocket.train import train as fit

    settings = Settings(
        views=views,
        text_epochs=text_epochs,
        steps=steps,
        photos=photos,
        scenes=scenes,
        drawn=drawn,
        rate=rate,
        blend=blend,
        seed=seed,
        threads=threads,
    )
    done = fit(shards, None if no_teacher else teacher, out, cache, settings, say, start)
    if as_json:
        print(json.dumps({"losses": done.losses, "photos": done.photos, "seconds": done.seconds}))


@app.command()
def evaluate(
    model: ModelDir = MODEL_DIR,
    scenes: Annotated[int, typer.Option(min=0, help="Held-out scenes to draw; 0: none.")] = 1000,
    photos: Annotated[
        Path | None, typer.Option(help="Photographs with captions.jsonl, as flickr8k has.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split of the photographs.")] = "val",
    shards: Annotated[
        Path | None, typer.Option(help="Training shards: measures what training kept apart.")
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Also say what this CLIP threshold drops; may be repeated."),
    ] = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Compute how well the model tells right captions from wrong ones."""
    from pipelines.pocket.evaluate import evaluate as measure

    report = measure(
        model,
        scenes=scenes,
        photos=photos,
        split=split,
        shards=shards,
        thresholds=threshold or [],
        seed=seed,
    )
    for name, figures in report.items():
        say("\n  ".join([f"{name}:", *(f"{key} {value:.4g}" for key, value in figures.items())]))
    if as_json:
        print(json.dumps(report))


if __name__ == "__main__":
    run(app)
