"""What a decision leaves: funnel, selection and texts, each recounted in plain Python."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from schemas.outcome import LEDGER_SCHEMA, Stage
from transforms.decide.basic import CaptionRule
from transforms.decide.ledger import count_funnel
from transforms.decide.screen import Step
from transforms.decide.selection import UID_DTYPE, as_selection
from transforms.decide.stage import commit_decision, commit_ledger
from transforms.shards.uids import halves

UIDS = st.lists(st.integers(0, 2**128 - 1).map("{:032x}".format), unique=True)
ENDING = st.none() | st.tuples(st.sampled_from([*Stage]), st.sampled_from("abc"))


def selection(uids: list[str]) -> np.ndarray:
    return as_selection(*halves(pa.array(uids, pa.string())))


def _line(row: int, ending: tuple[Stage, str] | None) -> dict[str, Any]:
    stage, reason = ending or (None, None)
    return (
        {"row": row, "uid": f"{row:032x}", "kept": ending is None, "stage": stage}
        | {
            "reason": reason,
            "detail": reason,
        }
        | dict.fromkeys(("rule", "value", "limit"))
    )


@given(st.lists(st.lists(ENDING, max_size=8), min_size=1, max_size=4))
def test_count_funnel_counts_as_one_counts_by_hand(
    shards: list[list[tuple[Stage, str] | None]],
) -> None:
    ledgers = [
        pa.Table.from_pylist([_line(n, e) for n, e in enumerate(endings)], schema=LEDGER_SCHEMA)
        for endings in shards
    ]
    stages = [Stage.CLIP, Stage.BASIC, Stage.DEDUPE, Stage.BASIC, Stage.CAPFILT, Stage.SELECT]
    funnel = count_funnel(ledgers, stages)
    endings = [ending for shard in shards for ending in shard]
    counted = Counter(ending for ending in endings if ending is not None)
    told = {(s, r): n for s, reasons in funnel["dropped"].items() for r, n in reasons.items()}
    assert told == counted
    assert funnel["kept"] == endings.count(None)
    assert funnel["input_rows"] == len(endings)
    assert list(funnel["dropped"]) == [
        "read",
        "fetch",
        "clip",
        "basic",
        "dedupe",
        "capfilt",
        "select",
    ]
    for reasons in funnel["dropped"].values():
        assert list(reasons.values()) == sorted(reasons.values(), reverse=True)


@given(UIDS)
def test_a_selection_is_sorted_and_gives_back_its_uids(uids: list[str]) -> None:
    array = selection(uids)
    assert array.dtype == UID_DTYPE
    assert [f"{high:016x}{low:016x}" for high, low in array.tolist()] == sorted(uids)


def test_a_selection_answers_as_datacomps_reader_asks(tmp_path: Path) -> None:
    """DataComp's resharder halves a uid as hex and looks it up by np.searchsorted."""
    uids = ["ff" * 16, "00" * 16, "0123456789abcdeffedcba9876543210"]
    np.save(tmp_path / "subset.npy", selection(uids))
    subset = np.load(tmp_path / "subset.npy", mmap_mode="r")
    asked = np.array([(int(uids[2][:16], 16), int(uids[2][16:], 16))], np.dtype("u8,u8"))[0]
    assert subset[np.searchsorted(subset, asked)] == asked


def _decide(run: Path, shards: list[int]) -> Path:
    decision = run / "decisions" / "f"
    steps = [Step(name="rules.0.caption", rule=CaptionRule())]
    done = [commit_ledger(shard, run, decision, steps) for shard in shards]
    commit_decision(None, run, decision, steps, done)
    return decision


def test_a_decision_names_every_kept_row_in_input_order(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path / "pool", 0, [{"row": 0, "image": 0}, {"row": 9, "image": 0, "url": "z"}])
    draw_pool(tmp_path / "pool", 1, [{"row": 3}, {"row": 4, "caption": ""}])
    decision = _decide(tmp_path, [1, 0])
    texts = pq.read_table(decision / "texts.parquet")
    assert texts["row"].to_pylist() == [0, 9, 3]
    assert texts["shard"].to_pylist() == [0, 0, 1]
    assert texts["place"].to_pylist() == [0, 1, 0]
    assert texts["clip_score"].null_count == 3
    uids = texts["uid"].to_pylist()
    assert np.load(decision / "selection.npy").tolist() == selection(uids).tolist()
    assert len(set(uids)) == 3
    funnel = (decision / "funnel.json").read_text()
    assert '"images": 2' in funnel
    assert '"empty_caption": 1' in funnel


def test_a_decision_does_not_depend_on_the_order_of_shards(draw_pool, tmp_path: Path) -> None:
    made = {}
    for name, order in (("a", [0, 1, 2]), ("b", [2, 0, 1])):
        for shard in order:
            draw_pool(tmp_path / name / "pool", shard, [{"row": 2 * shard}, {"row": 2 * shard + 1}])
        decision = _decide(tmp_path / name, order)
        files = ("selection.npy", "texts.parquet", "funnel.json")
        made[name] = [(decision / file).read_bytes() for file in files]
    assert made["a"] == made["b"]


def test_a_decision_that_keeps_nothing_is_a_decision(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path / "pool", 0, [{"row": 0, "caption": ""}])
    decision = _decide(tmp_path, [0])
    assert pq.read_table(decision / "texts.parquet").num_rows == 0
    assert len(np.load(decision / "selection.npy")) == 0
