import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fingerprint import HEX_DIGITS, Json, fingerprint

LEAVES = st.none() | st.booleans() | st.integers() | st.text()
CONTENT = st.recursive(
    LEAVES, lambda deeper: st.lists(deeper) | st.dictionaries(st.text(), deeper), max_leaves=8
)


def test_the_rule_is_sha256_over_canonical_json() -> None:
    """Digests made by sha256sum over: {"a":[1,true,null],"b":"ä"}, and over: {}"""
    content: Json = {"b": "ä", "a": [1, True, None]}
    assert fingerprint(content) == "969f837dc907ce42"
    assert fingerprint({}) == "44136fa355b3678a"


@given(st.dictionaries(st.text(), CONTENT))
def test_the_order_of_keys_does_not_matter(content: dict[str, Json]) -> None:
    backwards = dict(reversed(content.items()))
    assert fingerprint(content) == fingerprint(backwards)
    assert len(fingerprint(content)) == HEX_DIGITS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, True),
        (0, False),
        (0, None),
        (None, "null"),
        (1, 1.5),
        ([1, 2], [2, 1]),
        ([1, [2]], [1, 2]),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": None}, {}),
        ([], {}),
        ("a", "a "),
        ("\u00e9", "e\u0301"),
    ],
)
def test_different_contents_differ(one: Json, other: Json) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_another_process_with_another_hash_seed_gives_the_same() -> None:
    code = "from schemas.fingerprint import fingerprint as f; print(f({'x': {'b': 1, 'a': 'ü'}}))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert told == {fingerprint({"x": {"a": "ü", "b": 1}})}
