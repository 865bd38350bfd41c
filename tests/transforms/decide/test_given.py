"""Captions that dropped duplicates give to the images kept instead."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.decide.ledger import TEXTS_SCHEMA, kept_texts, surviving_texts
from transforms.decide.screen import Step, carry_out, screen
from transforms.dedupe.exact import ExactDuplicateRule

SAME = "ab" * 32


def _texts(lines: list[tuple[int, int, int | None]]) -> pa.Table:
    """From (row, image, given_by)."""
    columns = {
        "row": [row for row, _, _ in lines],
        "image": [image for _, image, _ in lines],
        "given_by": [giver for _, _, giver in lines],
    }
    others = {name: [None] * len(lines) for name in TEXTS_SCHEMA.names if name not in columns}
    return pa.table(columns | others, TEXTS_SCHEMA).select(TEXTS_SCHEMA.names)


def _found(texts: pa.Table) -> list[tuple[int, int, int | None]]:
    lines = surviving_texts(texts).to_pylist()
    return [(line["row"], line["image"], line["given_by"]) for line in lines]


def test_own_texts_come_first_then_those_given_by_row() -> None:
    texts = _texts([(1, 7, 1), (9, 7, None), (0, 7, 0), (7, 7, None), (2, 2, None)])
    assert _found(texts) == [
        (2, 2, None),
        (7, 7, None),
        (9, 7, None),
        (0, 7, 0),
        (1, 7, 1),
    ]


def test_captions_go_on_with_a_keeper_that_is_itself_a_duplicate() -> None:
    chain = _texts([(1, 2, 1), (2, 3, 2), (3, 3, None)])
    assert _found(chain) == [(3, 3, None), (1, 3, 1), (2, 3, 2)]


def test_captions_given_to_an_image_that_is_dropped_for_another_reason_are_gone() -> None:
    assert _found(_texts([(1, 2, 1), (5, 5, None)])) == [(5, 5, None)]


@given(st.permutations(range(6)))
def test_the_order_of_shards_does_not_matter(order: list[int]) -> None:
    lines = [(1, 2, 1), (2, 3, 2), (3, 3, None), (8, 8, None), (9, 8, 9), (10, 8, None)]
    assert _found(_texts([lines[place] for place in order])) == _found(_texts(lines))


def test_a_dropped_rows_caption_is_noted_with_its_keeper(draw_pool, tmp_path: Path) -> None:
    rows = [{"row": 0, "sha256": SAME, "caption": "one"}, {"row": 1, "sha256": SAME}]
    draw_pool(tmp_path / "pool", 0, rows)
    rule = ExactDuplicateRule(keep="first", give_captions=True)
    other = {"row": 4, "sha256": SAME, "caption": "a third"}
    draw_pool(tmp_path / "pool", 1, [other, {"row": 5, "sha256": "00" * 32}])
    pools = [screen(tmp_path / "pool", shard, []) for shard in (0, 1)]
    outcome = rule.settle(pa.concat_tables([s.rows for s in pools]).select(rule.gathers))
    step = Step(name="rules.0.exact_duplicate", rule=rule)
    for screened in pools:
        carry_out(step, screened.rows, np.arange(2), outcome, screened)
    texts = pa.concat_tables([kept_texts(s, n) for n, s in enumerate(pools)])
    lines = {line["row"]: line for line in texts.to_pylist()}
    assert {row: line["image"] for row, line in lines.items()} == {0: 0, 1: 0, 4: 0, 5: 5}
    assert {row: line["given_by"] for row, line in lines.items()} == {0: None, 1: 1, 4: 4, 5: None}
    assert [lines[row]["caption"] for row in (0, 4, 5)] == [None, "a third", None]
    assert pools[1].ledger()["kept"].to_pylist() == [False, True]


def test_images_that_were_given_each_others_captions_do_not_hang() -> None:
    assert _found(_texts([(1, 2, 1), (2, 1, 2), (3, 3, None)])) == [(3, 3, None)]
