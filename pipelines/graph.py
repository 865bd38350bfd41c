"""From a recipe to the one Beam graph: fetch, rules with their measures, decision, corpora."""

from functools import partial
from pathlib import Path
from typing import TypeAlias

import apache_beam as beam
from apache_beam.pvalue import PValue

from pipelines.job import Job
from transforms.corpora.stage import Build
from transforms.decide.stage import Decide, Settle
from transforms.fetch.stage import Fetch
from transforms.score.clip_model import load_clip
from transforms.score.stage import Measure, Measurer, measure_part_clip, measure_part_languages

Shards: TypeAlias = PValue  # a PCollection of shard numbers


def mill(pipeline: beam.Pipeline, job_file: str) -> None:
    """Wire the job's graph. What flows is shard numbers and small Arrow batches, never images.

    Raises: BadInputError: a model of the recipe cannot be loaded."""
    job = Job.load(Path(job_file))
    _check_models(job)
    shards = (
        pipeline
        | "shards" >> beam.Create(range(job.shards))
        | "spread" >> beam.Reshuffle()
        | "fetch" >> Fetch(job.run, job.recipe.fetch, job.recipe.input.pool)
    )
    decision = _screen(shards, job) | "decide" >> Decide(job.run, job.decision, job.steps)
    for name, policy in job.recipe.corpora.items():
        _ = decision | f"build {name}" >> Build(job.run, name, job.corpus(name), policy)


def _screen(shards: Shards, job: Job) -> Shards:
    """Each rule in its place: its measure just before it, for the rows still kept there."""
    for place, step in enumerate(job.steps):
        before, name = job.steps[:place], step.rule.measure
        label = f"{place} {job.recipe.rules[place].name}"
        if step.measure is not None and name is not None:
            measurer = _measurer(job, name)
            shards |= f"{label}: measure" >> Measure(job.run, step.measure, before, measurer)
        if step.outcome is not None:
            shards |= f"{label}: settle" >> Settle(job.run, before, step)
    return shards


def _measurer(job: Job, name: str) -> Measurer:
    model = job.measure_model(name)
    return measure_part_languages if model is None else partial(measure_part_clip, policy=model)


def _check_models(job: Job) -> None:
    """A model that cannot be loaded is told before anything is fetched."""
    for name in job.measure_names():
        model = job.measure_model(name)
        if model is not None:
            load_clip(model)
