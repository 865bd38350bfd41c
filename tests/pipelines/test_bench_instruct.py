"""The labelled dialogues of `make bench-instruct`, and what the checks say of them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.bench.instruct import OF_REQUESTS, PRECISION, RECALL, main
from pipelines.bench.spoilt import SYMBOLS_FILE, labelled_set
from schemas.dialogue import DialogueFault

DATA = Path("../shared/data")
pytestmark = pytest.mark.skipif(
    not (DATA / SYMBOLS_FILE).exists(), reason="../shared/data is not there"
)


def test_every_way_to_spoil_changes_a_dialogue() -> None:
    labelled = labelled_set(DATA, seed=0, held_out=True)
    good = [one for one in labelled if one.wrong is None]
    spoilt = [one for one in labelled if one.wrong is not None]
    assert not [one for one in spoilt if replace(one, wrong=None) in good]
    assert {one.wrong for one in spoilt} == set(DialogueFault) - OF_REQUESTS
    assert labelled == labelled_set(DATA, seed=0, held_out=True)
    assert labelled != labelled_set(DATA, seed=1, held_out=True)
    assert labelled != labelled_set(DATA, seed=0, held_out=False)


def test_the_checks_hold_their_marks(capsys: pytest.CaptureFixture[str]) -> None:
    main(DATA, seed=3, speed=False)  # not the seed that the rules were tried on
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    marks = {mark["name"]: mark for mark in line["marks"]}
    assert not [name for name, mark in marks.items() if not mark["holds"]]
    assert marks["wrong_count precision"]["mark"] == PRECISION
    assert {mark["mark"] for mark in marks.values()} == {PRECISION, RECALL, None}
