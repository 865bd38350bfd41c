"""Open a run under one of its decisions: the last recipe's, or any that was made there."""

import dataclasses
from pathlib import Path

import yaml

from pipelines.job import Job
from pipelines.recipe import Recipe
from schemas.errors import BadInputError
from schemas.layout import decision_manifest
from transforms.shards.commit import committed


def open_decided(run: Path, decision: str | None = None) -> Job:
    """The job that ran last or, with the beginning of a fingerprint, the one that decided so.

    Raises: BadInputError: no RUN, nothing decided there yet, or no one such decision."""
    job = Job.open(run)
    if decision is not None:
        return _job_of(job, find_decision(job, decision))
    if committed(decision_manifest(job.decision)) is None:
        there = _decisions(job)
        others = f", or name another decision; there are: {', '.join(there)}" if there else ""
        raise BadInputError(
            f"The run in {run} has no decision yet: run it to its end first{others}."
        )
    return job


def find_decision(job: Job, beginning: str) -> Path:
    """Raises: BadInputError: none, or more than one, of the run's decisions begins so."""
    there = _decisions(job)
    found = [name for name in there if name.startswith(beginning)]
    if len(found) != 1:
        fault = "Several decisions begin with" if found else "There is no file and no decision"
        raise BadInputError(f"{fault} {beginning!r}; there are: {', '.join(there) or 'none'}.")
    return job.layout.decision(found[0])


def _decisions(job: Job) -> list[str]:
    """Fingerprints of all that were made in the run."""
    manifests = sorted(job.layout.run.glob("decisions/*/decision.json"))
    return [path.parent.name for path in manifests if committed(path) is not None]


def _job_of(job: Job, decision: Path) -> Job:
    """The job with the recipe that made a decision: RUN keeps each beside what it had found."""
    if decision == job.decision:
        return job
    for path in sorted(job.layout.run.glob("recipes/*.yaml")):
        kept = yaml.safe_load(path.read_text(encoding="utf-8"))
        if kept.get("decision") == decision.name:
            now = job.recipe.model_dump(mode="json", exclude_none=True)
            content = kept["recipe"] | {"input": now["input"], "fetch": now["fetch"]}
            known = {name: kept[name] for name in ("measures", "rules", "decision")}
            known["instruct"] = kept.get("instruct", {})
            recipe = Recipe.model_validate(content)
            return dataclasses.replace(job, recipe=recipe, known=known)
    raise BadInputError(f"No recipe in {job.layout.run}/recipes made the decision {decision.name}.")
