"""Looking numbers up among ordered ones, against Python's own sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.shards.ordered import among, find_in

NUMBERS = st.lists(st.integers(-5, 20))


@given(NUMBERS, st.sets(st.integers(-5, 20)))
def test_each_is_found_at_its_place(numbers: list[int], others: set[int]) -> None:
    ordered = sorted(others)
    asked = np.array(numbers, np.int64)
    found, places = find_in(asked, np.array(ordered, np.int64))
    assert found.tolist() == [number in others for number in numbers]
    assert found.tolist() == among(asked, np.array(ordered, np.int64)).tolist()
    for number, place in zip(asked[found].tolist(), places[found].tolist(), strict=True):
        assert ordered[place] == number
