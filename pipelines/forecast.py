"""What a recipe's dialogues will cost, before they are asked for."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.job import Job
from pipelines.recipe import Recipe
from schemas.errors import BadInputError
from schemas.layout import Layout, decision_manifest
from transforms.instruct.annotations import read_annotations
from transforms.instruct.forecast import Forecast, Located, forecast
from transforms.instruct.models.replies import REPLIES_FILE, Replies
from transforms.instruct.models.requests import Picture
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject, cut_by_shard, subjects_of
from transforms.read.rows import number_rows
from transforms.read.table import read_list
from transforms.shards.commit import committed
from transforms.shards.pool import PoolShards


def forecast_recipe(recipe: Recipe, run: Path | None) -> tuple[list[Forecast], bool]:
    """A forecast for each of a recipe's dialogues that a server is asked for, and whether it is of
    what the recipe's decision keeps; else it is of every image of the list, so at most.

    Raises: BadInputError: no dialogue of the recipe asks a server, or the list cannot be read."""
    asking = {n: p for n, p in recipe.instruct.items() if p.url is not None}
    if not asking:
        raise BadInputError(
            "No server is asked by this recipe: no backend `endpoint` or `batch` in it."
        )
    job = _decided(recipe, run)
    if job is None:
        return [forecast(n, p, _of_list(recipe, p), _blank, None) for n, p in asking.items()], False
    path = job.run / REPLIES_FILE
    with contextlib.ExitStack() as opened:
        pool = opened.enter_context(PoolShards(job.layout.pool))
        replies = None
        if path.is_file():
            replies = opened.enter_context(contextlib.closing(Replies(path)))
        return [
            forecast(
                name, policy, _of_decision(job, policy), lambda n: pool.images(n).read, replies
            )
            for name, policy in asking.items()
        ], True


def print_forecasts(found: list[Forecast], exact: bool, console: Console) -> None:
    """As people read them: a column for the dialogues of each name."""
    about = "what the recipe keeps" if exact else "all images of the list, as if all were kept"
    table = Table(title=f"Forecast for {about}", title_justify="left")
    table.add_column("")
    for one in found:
        table.add_column(one.name, justify="right")
    for told, show in _LINES.items():
        table.add_row(told, *map(show, found))
    console.print(table)
    for one in found:
        if one.over_cap:
            console.print(f"{one.name}: the budget does not allow all of it.", style="bold red")


_LINES: dict[str, Callable[[Forecast], str]] = {
    "dialogues": lambda one: f"{one.dialogues:,}",
    "answered already": lambda one: f"{one.stored:,}",
    "requests": lambda one: f"{one.requests:,}",
    "tokens in": lambda one: f"{one.tokens_in:,}",
    "tokens out": lambda one: f"{one.tokens_out:,}",
    "USD": lambda one: f"{one.usd:,.4f}",
    "USD at most": lambda one: f"{one.usd_at_most:,.4f}",
    "minutes at least": lambda one: "" if one.minutes is None else f"{one.minutes:,.1f}",
}


def _decided(recipe: Recipe, run: Path | None) -> Job | None:
    """The recipe's job in a RUN where its decision is made."""
    if run is None or not Layout(run).job.is_file():
        return None
    job = dataclasses.replace(Job.open(run), recipe=recipe, known={})
    return None if committed(decision_manifest(job.decision)) is None else job


def _of_decision(job: Job, policy: InstructPolicy) -> Iterator[Located]:
    annotations = read_annotations(policy.annotations)
    for unit in cut_by_shard(str(job.decision)):
        for subject in subjects_of(unit, job.layout.pool, annotations):
            yield unit[0], subject


def _of_list(recipe: Recipe, policy: InstructPolicy) -> Iterator[Located]:
    if recipe.input.list is None:
        raise BadInputError("An adopted pool is forecast after `pairmill decide`: name its --out.")
    annotations = read_annotations(policy.annotations)
    rows = number_rows(read_list(recipe.input)).to_pylist()
    rows.sort(key=itemgetter("image", "row"))
    for _, group in itertools.groupby(rows, key=itemgetter("image")):
        of_image = list(group)
        uid, url = of_image[0]["uid"], of_image[0]["url"]
        captions = tuple(dict.fromkeys(row["caption"] for row in of_image))
        yield 0, Subject(uid=uid, key="", context=annotations.context(uid, url, captions))


def _blank(_shard: int) -> Callable[[str], Picture]:
    def read(_key: str) -> Picture:
        return "jpg", b""

    return read
