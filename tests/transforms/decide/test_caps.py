"""Caps: images counted by host and by caption, and how many of each stay."""

from collections import defaultdict
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, kept

from transforms.decide.caps import CapRule, PerCaptionRule, PerHostRule

HOSTS = {
    "http://a.test/x.jpg": "a.test",
    "HTTPS://A.Test:8443/y.jpg": "a.test",
    "http://user:pass@a.test/z": "a.test",
    "http://p%40ss@w@a.test/z": "a.test",
    "http://a.test?http://b.test/": "a.test",
    "http://a.test#@b.test": "a.test",
    "http://a.test/@b.test/c@d": "a.test",
    "http://b.test": "b.test",
    "http://a.test.b.test/": "a.test.b.test",
    "http://[::1]:80/i.png": "[::1]",
    "http://[::1]/j.png": "[::1]",
    "http://u@[2001:DB8::1]/k": "[2001:db8::1]",
    "http://münchen.test/ü.jpg": "münchen.test",
    "00000/000000001.jpg": "",
    "/a/b://c/d.jpg": "",
    "http:///x.jpg": "",
    "": "",
}
SEED = st.integers(0, 3)
# The row's image, and what it is counted under.
DRAWN = st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), max_size=30)


def _rows(images: list[int], **columns: list[str]) -> pa.Table:
    table = {"row": pa.array(range(5, 5 + len(images)), pa.int64())}
    table["image"] = pa.array(images, pa.int64())
    return pa.table(table | {name: pa.array(each, pa.string()) for name, each in columns.items()})


def test_hosts_are_those_that_pythons_parser_finds() -> None:
    found = PerHostRule(at_most=1).groups(pa.chunked_array([list(HOSTS)]))
    assert found.to_pylist() == list(HOSTS.values())
    parsed = [urlsplit(url).hostname or "" if url[:1] != "/" else "" for url in HOSTS]
    assert [host.strip("[]") for host in found.to_pylist()] == parsed


@given(DRAWN, st.integers(1, 4), SEED)
def test_so_many_images_of_each_caption_stay_and_no_more(
    drawn: list[tuple[int, str]], at_most: int, seed: int
) -> None:
    images, captions = [image for image, _ in drawn], [caption for _, caption in drawn]
    found = ends(PerCaptionRule(at_most=at_most, seed=seed), _rows(images, caption=captions))
    groups: defaultdict[str, dict[int, set]] = defaultdict(dict)
    for (image, caption), end in zip(drawn, found, strict=True):
        groups[caption].setdefault(image, set()).add(end is None)
    for stays in groups.values():  # rows of one image and caption end the same
        assert all(len(one) == 1 for one in stays.values())
        assert sum(one == {True} for one in stays.values()) == min(len(stays), at_most)
    for (_, caption), end in zip(drawn, found, strict=True):
        if end is not None:
            count = len(groups[caption])
            assert (end.reason, end.value, end.limit) == ("caption_cap", count, at_most)
            assert end.detail == f"{caption}: {count} images, limit {at_most}"


@settings(max_examples=20)
@pytest.mark.parametrize("rule", [PerHostRule, PerCaptionRule])
@given(DRAWN, st.integers(1, 3), SEED)
def test_caps_do_not_depend_on_order_or_shards(
    rule: type[CapRule], drawn: list[tuple[int, str]], at_most: int, seed: int
) -> None:
    names = [name for _, name in drawn]
    urls = [f"http://{name}.test/{image}" for image, name in drawn]
    rows = _rows([image for image, _ in drawn], caption=names, url=urls)
    check_pieces(rule(at_most=at_most, seed=seed), rows, seed)


def test_rows_of_one_image_count_once_and_stay_together() -> None:
    urls = ["http://h.test/1"] * 5 + ["http://h.test/2"]
    found = kept(PerHostRule(at_most=1), _rows([1] * 5 + [2], url=urls))
    assert found in ([True] * 5 + [False], [False] * 5 + [True])
    assert all(kept(PerHostRule(at_most=2), _rows([1] * 5 + [2], url=urls)))


def test_what_stays_is_drawn_by_the_seed_whatever_the_place_in_the_list() -> None:
    """Of 400 images 100 stay, a quarter of each half: 50 on average, standard deviation 4.3."""
    rows = _rows(list(range(400)), url=[f"http://h.test/{n}" for n in range(400)])
    one, two = (kept(PerHostRule(at_most=100, seed=seed), rows) for seed in (0, 1))
    for found in (one, two):
        assert sum(found) == 100
        assert abs(sum(found[:200]) - 50) < 26
    assert abs(sum(a and b for a, b in zip(one, two, strict=True)) - 25) < 24
    smaller = kept(PerHostRule(at_most=40), rows)
    assert all(large for small, large in zip(smaller, one, strict=True) if small)


def test_captions_are_equal_whatever_their_case_and_outer_space() -> None:
    captions = ["A Dog", " a dog\n", "\u3000A DOG", "a  dog", "ÜBER", "über", ""]
    found = PerCaptionRule(at_most=1).groups(pa.chunked_array([captions])).to_pylist()
    assert found == ["a dog"] * 3 + ["a  dog", "über", "über", ""]


def test_images_without_a_host_have_nothing_in_common_and_stay() -> None:
    urls = ["x/1.jpg", "x/2.jpg", "http://h/1", "http://h/2"]
    found = ends(PerHostRule(at_most=1), _rows([1, 2, 3, 4], url=urls))
    assert found[:2] == [None, None]
    assert sum(end is None for end in found[2:]) == 1
