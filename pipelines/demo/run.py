"""The demo: plant a small web, serve it on loopback, curate it by the shipped recipe, and score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipelines.demo.corpus import LIST_FILE, TRUTH_FILE, plan_demo, write_plan
from pipelines.demo.score import score
from pipelines.demo.server import serve
from pipelines.engines.flags import runner_of
from pipelines.job import Job
from pipelines.recipe import Recipe
from pipelines.recipe_file import make_recipe
from pipelines.run import run_recipe
from schemas.layout import TEXTS_FILE, Layout, decision_manifest
from schemas.report import RunReport
from schemas.texts import WEB as WEB_TEXT
from transforms.decide.ledger import read_ledger as read_shard_ledger
from transforms.shards.commit import write_atomically
from transforms.shards.tables import read_committed

RECIPE_FILE = Path(__file__).with_name("recipe.yaml")
WEB = "web"  # folder of the RUN with the list, the truth and the recipe as it was run


def run_demo(
    out: Path, *, rows: int, seed: int, photos: Path | None, split: str, flags: Sequence[str]
) -> RunReport:
    """Curate the planted web into `out`. The same arguments give the same rows, uids and bytes.

    Raises: BadInputError: the photographs cannot be used; RunFailedError: run again to resume."""
    runner_of(flags)  # refused before anything is written
    plan = plan_demo(rows, seed, photos, split)
    write_plan(plan, out / WEB)
    with serve(plan.answers) as resolve:
        report = run_recipe(_recipe(out / WEB, resolve), out, flags)
    found = score(pq.read_table(out / WEB / TRUTH_FILE).to_pandas(), read_kept(out))
    return report.model_copy(update={"planted": found.planted, "good": found.good})


def read_ledger(run: Path) -> pd.DataFrame:
    """The ledger of the last recipe that ran here, sorted by input row."""
    job = Job.load(Layout(run).job)
    parts = [read_shard_ledger(job.decision, shard) for shard in range(job.shards)]
    return pa.concat_tables(parts).to_pandas().sort_values("row")


def read_kept(run: Path) -> pd.DataFrame:
    """Columns row, kept: whether the caption that came with a row survives. A row that only a
    synthetic caption keeps has lost its own."""
    job = Job.load(Layout(run).job)
    texts = read_committed(decision_manifest(job.decision), TEXTS_FILE).to_pandas()
    own = texts["row"][(texts["text"] == WEB_TEXT) & texts["given_by"].isna()]
    rows = read_ledger(run)[["row"]]
    return rows.assign(kept=np.isin(rows["row"], own))


def _recipe(web: Path, resolve: dict[str, str]) -> Recipe:
    """The shipped recipe over the planted list; a copy lies beside the list, to edit and to run."""
    shipped = RECIPE_FILE.read_text(encoding="utf-8")
    if not (web / RECIPE_FILE.name).exists():
        write_atomically(web / RECIPE_FILE.name, shipped.encode())
    content: dict[str, Any] = yaml.safe_load(shipped)
    content["fetch"]["resolve"] = resolve
    content["input"]["list"] = LIST_FILE
    return make_recipe(content, source=web / RECIPE_FILE.name)
