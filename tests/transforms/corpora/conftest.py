"""A small run whose pool is drawn in code, decided and built as a real run's is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.corpora.stage import cut_texts, finish, write_corpus_shard
from transforms.decide.basic import CaptionRule
from transforms.decide.screen import Step
from transforms.decide.stage import commit_decision, commit_ledger
from transforms.score.rule import ClipScoreRule
from transforms.shards.commit import Draft

# Image 0 has three captions, the best of them last; row 5 is dropped; row 8 was webp.
ROWS = {
    0: [
        {"row": 0, "caption": "  one dog "},
        {"row": 3, "image": 0, "url": "http://pool.test/0.jpg", "caption": "eine Katze 🐱"},
        {"row": 9, "image": 0, "url": "http://pool.test/0.jpg", "caption": 'a "best" caption'},
        {"row": 1, "extension": "png"},
        {"row": 2, "failure": "not_found"},
    ],
    1: [
        {"row": 4},
        {"row": 5, "caption": ""},
        {"row": 6, "extension": "jpeg"},
        {"row": 7},
        {"row": 8, "extension": "webp"},
    ],
}
SCORES = {0: 0.25, 1: 0.2, 3: -0.1, 4: 0.1, 6: 0.2, 7: 0.3, 8: 0.4, 9: 0.5}


@pytest.fixture(scope="session")
def first_run(draw_pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn, decided and built once; tests change copies of it."""
    run = tmp_path_factory.mktemp("corpora") / "run"
    measure = run / "measures" / "clip-m" / "f"
    for shard, rows in ROWS.items():
        draw_pool(run / "pool", shard, rows)
        _commit_scores(run, measure, shard)
    steps = [
        Step(name="rules.0.caption", rule=CaptionRule()),
        Step(
            name="rules.1.clip_score",
            rule=ClipScoreRule(model="m", at_least=-1),
            measures=(measure,),
        ),
    ]
    shards = [commit_ledger(shard, run, run / "decisions" / "f", steps) for shard in ROWS]
    commit_decision(None, run, run / "decisions" / "f", steps, shards)
    build(run)
    return run


@pytest.fixture
def decided(first_run: Path, tmp_path: Path) -> Path:
    """A RUN with a pool, a CLIP measure and the decision `decisions/f`, but no corpus."""
    without = shutil.ignore_patterns("corpora", "commits")
    return Path(shutil.copytree(first_run, tmp_path / "run", ignore=without))


@pytest.fixture
def corpus(first_run: Path, tmp_path: Path) -> Path:
    """A finished corpus: 6 images with 8 captions in 3 shards of 2."""
    run = Path(shutil.copytree(first_run, tmp_path / "run"))
    return run / "corpora" / "pairs" / "f"


def build(run: Path, *, samples_per_shard: int = 2, backwards: bool = False) -> Path:
    folder = run / "corpora" / "pairs" / "f"
    slices = list(cut_texts(str(run / "decisions" / "f"), samples_per_shard))
    if backwards:
        slices.reverse()
    shards = [write_corpus_shard(piece, run, folder) for piece in slices]
    return Path(finish(None, run, "pairs", folder, shards))


@pytest.fixture
def rebuild() -> Callable[..., Path]:
    """Builds the corpus of a RUN: `rebuild(run, samples_per_shard=2, backwards=False)`."""
    return build


def _commit_scores(run: Path, measure: Path, shard: int) -> None:
    rows = pq.read_table(run / "pool" / f"{shard:05d}.parquet").to_pylist()
    scored = [row for row in rows if row["row"] in SCORES]
    with Draft(measure / f"{shard:05d}-0.json") as draft:
        table = pa.table(
            {
                "uid": [row["uid"] for row in scored],
                "score": np.float32([SCORES[row["row"]] for row in scored]),
            }
        )
        pq.write_table(table, draft.path(f"{shard:05d}-0.parquet"))
