"""The rows nearest to their limits, rule by rule."""

import pandas as pd

from transforms.decide.border import by_border


def test_the_nearest_of_each_rule_come_first_and_those_without_a_number_last() -> None:
    """Pixels are not nearer or farther than cosines: rules take turns."""
    lines = pd.DataFrame(
        {
            "row": [0, 1, 2, 3, 4],
            "rule": ["side", "clip", "side", None, "clip"],
            "value": [150.0, 0.19, 199.0, None, 0.1],
            "limit": [200.0, 0.2, 200.0, None, 0.2],
        }
    )
    assert by_border(lines)["row"].tolist() == [1, 2, 0, 4, 3]
