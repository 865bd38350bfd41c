"""Uids as numbers, against Python's own int; draws that are even, stable and seeded."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import uid

from transforms.shards.uids import draws, draws_of, halves

UIDS = st.lists(st.integers(0, 2**128 - 1).map("{:032x}".format), min_size=1, max_size=20)


@given(UIDS, st.integers(0, 20), st.sampled_from([pa.string(), pa.large_string()]))
def test_halves_are_the_uid_as_a_number(uids: list[str], cut: int, kind: pa.DataType) -> None:
    mixed_case = [text.upper() if place % 2 else text for place, text in enumerate(uids)]
    whole = pa.array(["0" * 32, *mixed_case, "f" * 32], kind)
    chunks = [whole.slice(1, cut), whole.slice(1 + len(uids), 0)]
    chunks.append(whole.slice(1 + cut, max(len(uids) - cut, 0)))
    for one in (whole.slice(1, len(uids)), pa.chunked_array(chunks).slice(0, len(uids))):
        high, low = halves(one)
        assert high.dtype == low.dtype == np.uint64
        numbers = zip(high.tolist(), low.tolist(), strict=True)
        assert [h << 64 | n for h, n in numbers] == [int(text, 16) for text in uids]


def test_no_uids_have_no_halves() -> None:
    for none in (pa.array([], pa.string()), pa.chunked_array([], pa.string())):
        assert [half.tolist() for half in halves(none)] == [[], []]
        assert draws(none, "salt").tolist() == []


@pytest.mark.parametrize(
    "bad",
    [
        ["0" * 31],
        ["0" * 33],
        ["0" * 31, "0" * 33],
        [""],
        ["0" * 31 + "g"],
        ["0x" + "0" * 30],
        ["é" * 16],
        [" " + "0" * 31],
        [None],
    ],
)
def test_what_is_no_uid_is_refused(bad: list[str | None]) -> None:
    with pytest.raises(ValueError, match="a uid"):
        halves(pa.array(["0" * 32, *bad], pa.string()))


@given(UIDS, st.integers(0, 20))
def test_a_draw_depends_on_uid_and_salt_alone(uids: list[str], cut: int) -> None:
    whole = draws(pa.array(uids), "rule", 7)
    parts = [draws(pa.array(part, pa.string()), "rule", 7) for part in (uids[:cut], uids[cut:])]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert draws(pa.array([text.upper() for text in uids]), "rule", 7).tolist() == whole.tolist()
    for salt in (("rule", 8), ("other", 7), ("rule", "7"), ("rule",)):
        assert not np.intersect1d(draws(pa.array(uids), *salt), whole).size


def _drawn(salt: int, of: str) -> np.ndarray:
    """Draws of uids that differ in few bits, as those of a made-up pool do, and of real ones."""
    if of == "images":
        return draws_of(np.arange(20_000), salt)
    high_only = [f"{n:016x}{0:016x}" for n in range(20_000)]
    return draws(
        pa.array({"low": [f"{n:032x}" for n in range(20_000)], "high": high_only}[of]), salt
    )


@pytest.mark.parametrize("of", ["low", "high", "images"])
def test_draws_are_even_and_those_of_two_seeds_are_independent(of: str) -> None:
    """Chi-square over 256 cells: 255 on average, standard deviation 22.6; 6 of these allowed."""
    one, two = _drawn(1, of), _drawn(2, of)
    assert len(set(one.tolist())) == len(one)
    low_bits, high_bits = one & np.uint64(255), one >> np.uint64(56)
    joint = (one >> np.uint64(60)) * np.uint64(16) + (two >> np.uint64(60))
    for cells in (low_bits, high_bits, joint):
        counts = np.bincount(cells.astype(np.int64), minlength=256)
        expected = len(one) / 256
        assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 6 * 22.6


def _splitmix(number: int) -> int:
    z = number + 0x9E3779B97F4A7C15 & 2**64 - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 2**64 - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & 2**64 - 1
    return z ^ z >> 31


def test_draws_are_those_of_plain_integers() -> None:
    """On any machine, in any release: other numbers are other samples for every recipe."""
    assert _splitmix(0) == 0xE220A8397B1DCDAF  # as published for the seed 0
    folded = hashlib.sha256(b'["sample",3]').hexdigest()[:16]
    salt = int.from_bytes(hashlib.sha256(folded.encode()).digest()[:8], "little")
    high, low = divmod(int(uid(0), 16), 1 << 64)
    expected = _splitmix(high ^ _splitmix(low ^ salt))
    assert draws(pa.array([uid(0)]), "sample", 3).tolist() == [expected]
    assert draws_of(np.array([5]), "sample", 3).tolist() == [_splitmix(5 ^ salt)]
