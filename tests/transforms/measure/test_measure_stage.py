"""Parts of a measure: each row measured once, whoever races and whatever a later run needs."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.decide.basic import CaptionRule
from transforms.decide.screen import Step
from transforms.measure import stage
from transforms.measure.language import LanguagePolicy
from transforms.measure.measurers import measure_part_clip, measure_part_languages
from transforms.measure.stage import Part, measure_shard
from transforms.score.policy import LOCAL_DIR, ClipPolicy
from transforms.shards.commit import committed
from transforms.shards.measures import measure_parts, newcomers, read_measure

ROWS = [{"row": n, "caption": "word " * (n + 1)} for n in range(4)]


def _before(min_words: int) -> list[Step]:
    return [Step(name="rules.0.caption", rule=CaptionRule(min_words=min_words))]


def _count_letters(part: Part) -> int:
    lengths = [len(caption) for caption in part.rows["caption"].to_pylist()]
    table = pa.table({"uid": part.rows["uid"], "letters": pa.array(lengths, pa.int64())})
    pq.write_table(table, part.draft.path(f"{part.name}.parquet"))
    return part.rows.num_rows


def test_a_looser_rule_measures_only_the_newcomers(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path / "pool", 0, ROWS)
    measure = tmp_path / "measures" / "letters" / "f"
    for min_words, rows in ((3, [2]), (3, [2]), (4, [2]), (1, [2, 2])):
        assert measure_shard(0, tmp_path, measure, _before(min_words), _count_letters) == 0
        parts = [committed(path) or {} for path in measure_parts(measure, 0)]
        assert [part["rows"] for part in parts] == rows
        assert [part["images"] for part in parts] == rows
    assert sorted(read_measure(measure, 0)["letters"].to_pylist()) == [5, 10, 15, 20]


def test_a_shard_without_rows_is_measured_once_for_all(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path / "pool", 0, ROWS)
    measure = tmp_path / "measures" / "letters" / "f"
    for _ in range(2):
        measure_shard(0, tmp_path, measure, _before(99), _count_letters)
        assert len(measure_parts(measure, 0)) == 1
    assert read_measure(measure, 0).num_rows == 0


def test_a_racing_worker_cannot_measure_a_row_twice(
    draw_pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other worker commits the part at the moment that hurts most."""
    draw_pool(tmp_path / "pool", 0, ROWS)
    measure = tmp_path / "measures" / "letters" / "f"

    def raced(rows: pa.Table, folder: Path, shard: int) -> pa.Table:
        found = newcomers(rows, folder, shard)
        monkeypatch.setattr(stage, "newcomers", newcomers)
        measure_shard(0, tmp_path, measure, _before(1), _count_letters)
        return found

    monkeypatch.setattr(stage, "newcomers", raced)
    measure_shard(0, tmp_path, measure, _before(1), _count_letters)
    uids = read_measure(measure, 0)["uid"].to_pylist()
    assert len(uids) == len(set(uids)) == 4


def test_language_parts_with_and_without_rows_fit_together(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path / "pool", 0, ROWS)
    measure = tmp_path / "measures" / "language" / "f"
    measurer = partial(measure_part_languages, policy=LanguagePolicy())
    for min_words in (99, 1):
        measure_shard(0, tmp_path, measure, _before(min_words), measurer)
    assert read_measure(measure, 0).num_rows == 4


def test_clip_parts_hold_scores_and_vectors_in_one_order(
    draw_pool, tiny_clip: Path, tmp_path: Path
) -> None:
    draw_pool(tmp_path / "pool", 0, ROWS)
    measure = tmp_path / "measures" / "clip-tiny" / "f"
    policy = ClipPolicy(architecture=f"{LOCAL_DIR}{tiny_clip}", batch_size=4)
    for min_words in (99, 3, 1):  # no rows, two rows, the other two
        measure_shard(
            0, tmp_path, measure, _before(min_words), lambda p: measure_part_clip(p, policy=policy)
        )
    scores = read_measure(measure, 0)
    assert scores.num_rows == 4
    vectors = {
        kind: np.concatenate([np.load(measure / f"00000-{n}.{kind}.npy") for n in (1, 2)])
        for kind in ("image", "text")
    }
    assert vectors["image"].dtype == np.float16
    cosines = (vectors["image"].astype(np.float32) * vectors["text"]).sum(axis=1)
    assert scores["score"].to_pylist() == pytest.approx(cosines.tolist(), abs=2e-3)
