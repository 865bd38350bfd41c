"""The rows and the recipe of a run so small that one can tell its every outcome by hand."""

from functools import partial

from pipelines.job import Job
from transforms.decide.stage import commit_ledger
from transforms.measure.language import LanguagePolicy
from transforms.measure.measurers import measure_part_languages
from transforms.measure.stage import measure_shard

LONG = "a brown dog runs over the green grass in the park"
ROWS = {
    0: [
        {"row": 0, "caption": LONG},
        {"row": 3, "image": 0, "url": "http://pool.test/0.jpg", "caption": LONG + " again"},
        {"row": 1, "caption": ""},
    ],
    1: [
        {"row": 2, "failure": "not_found", "caption": LONG},
        {"row": 4, "caption": "un chien brun court dans l'herbe verte du parc"},
        {"row": 5, "caption": LONG},
    ],
}
RECIPE = {
    "input": {"list": "list.parquet"},
    "rules": [{"caption": {}}, {"language": {"keep": ["en"]}}],
    "corpora": {"pairs": {"samples_per_shard": 1}},
}


def screen_all(job: Job) -> None:
    """Measure and judge every shard of the job, up to its ledgers."""
    for shard in ROWS:
        for step in job.steps[1:]:
            (measure,) = step.measures
            measurer = partial(measure_part_languages, policy=LanguagePolicy())
            measure_shard(shard, job.run, measure, job.steps[:1], measurer)
        commit_ledger(shard, job.run, job.decision, job.steps)
