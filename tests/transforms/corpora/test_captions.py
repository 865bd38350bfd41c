"""An image's captions in a corpus: its own and those that duplicates gave, best first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from transforms.corpora.samples import make_samples
from transforms.decide.ledger import TEXTS_SCHEMA

OWN, GIVEN = "a dog runs", "a brown dog in the park"


def _captions(draw_pool, tmp_path: Path, *texts: dict[str, Any]) -> Sequence[dict[str, Any]]:
    draw_pool(tmp_path / "pool", 0, [{"row": 3, "caption": OWN}])
    empty = dict.fromkeys(TEXTS_SCHEMA.names) | {"text": 0, "source": "web"}
    own = {"uid": "0" * 32, "row": 3, "image": 3, "shard": 0, "place": 0}
    lines = [
        empty | {"uid": f"{n:032d}", "image": 3, "shard": 9, "place": 9} | text
        for n, text in enumerate(texts, 1)
    ]
    table = pa.Table.from_pylist([empty | own | {"clip_score": 0.2}, *lines], schema=TEXTS_SCHEMA)
    (sample,) = make_samples(table, tmp_path / "pool")
    return sample.record["captions"]


def test_a_given_caption_is_one_more_with_its_own_uid(draw_pool, tmp_path: Path) -> None:
    given = {"row": 1, "given_by": 1, "caption": GIVEN, "clip_score": 0.3}
    captions = _captions(draw_pool, tmp_path, given)
    assert [(c["text"], c["uid"][-1], c["clip_score"]) for c in captions] == [
        (GIVEN, "1", 0.3),
        (OWN, "0", 0.2),
    ]


def test_a_given_caption_without_a_score_comes_last(draw_pool, tmp_path: Path) -> None:
    captions = _captions(draw_pool, tmp_path, {"row": 1, "given_by": 1, "caption": GIVEN})
    assert [c["text"] for c in captions] == [OWN, GIVEN]
    assert "clip_score" not in captions[1]


def test_what_the_image_has_already_is_not_given_again(draw_pool, tmp_path: Path) -> None:
    same = {"given_by": 1, "caption": f" {OWN} ", "clip_score": 0.9}
    captions = _captions(
        draw_pool,
        tmp_path,
        {"row": 1, **same},
        {"row": 5, "given_by": 5, "caption": GIVEN},
        {"row": 6, "given_by": 6, "caption": GIVEN},
    )
    assert [c["text"] for c in captions] == [OWN, GIVEN]
