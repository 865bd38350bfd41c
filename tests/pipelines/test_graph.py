"""What the graph adds to a measure: a file that is edited while a run goes on is told."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.graph import _unless_edited
from pipelines.identities import measure_identity
from schemas.errors import RunFailedError
from transforms.measure.policy import ConceptsPolicy, FunctionPolicy


class _Part:
    measure = "mine"


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("my.py", lambda path: FunctionPolicy(function=f"{path}:size")),
        ("entries.txt", lambda path: ConceptsPolicy(list=path)),
    ],
)
def test_an_edited_file_ends_the_run(name: str, policy: Any, tmp_path: Path) -> None:
    """Else shards would be measured by one text or by another, under one fingerprint."""
    path = tmp_path / name
    path.write_text("def size(caption): return 1\n")
    made = policy(path)
    identity = measure_identity(made)
    part: Any = _Part()
    assert _unless_edited(part, policy=made, identity=identity, measurer=lambda _: 7) == 7
    path.write_text("def size(caption): return 2\n")
    with pytest.raises(RunFailedError, match="the measure mine was edited while the run went on"):
        _unless_edited(part, policy=made, identity=identity, measurer=lambda _: 7)
