import random
from collections import Counter

import pytest

from schemas.context import Context
from tests.transforms.instruct.talk import boxes
from transforms.instruct.names.labels import Labels
from transforms.instruct.names.vocabulary import Vocabulary

# Dogs are seen often; forks only beside knives.
CONTEXTS = [Context(things=boxes(dog=1))] * 8 + [Context(things=boxes(fork=1, knife=1))]


@pytest.mark.parametrize(
    ("how", "most"), [("random", None), ("popular", "dog"), ("adversarial", "fork")]
)
def test_what_is_absent_is_drawn_as_it_should(how, most: str | None) -> None:
    labels, rng = Labels(CONTEXTS), random.Random(1)
    shown = Context(things=boxes(knife=1))
    drawn = Counter(labels.absent(shown, Vocabulary(), how, rng) for _ in range(300))
    assert set(drawn) <= {"dog", "fork"}
    if most is None:
        assert min(drawn.values()) > 100
    else:
        assert drawn.most_common(1)[0][0] == most
        assert drawn[most] > 240


def test_nothing_is_absent_where_all_is_there() -> None:
    labels = Labels(CONTEXTS)
    told = Context(captions=("a dog with a fork",), things=boxes(knife=1))
    assert labels.absent(told, Vocabulary(), "popular", random.Random(0)) is None
