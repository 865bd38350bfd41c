"""The uid's rule, checked against digests made by sha256sum over bytes written by hand."""

import re

import pytest

from schemas.pair import POOL_SCHEMA, ROWS_SCHEMA, Failure, Status, image_key, make_uid


@pytest.mark.parametrize(
    ("url", "caption", "uid"),
    [
        ("http://a.test/1.jpg", "a dog", "2f3627b9215fff27dae4e07869949bf6"),
        ("http://a.test/图.jpg", "一只狗 🐕", "1828add41c22d20e2b1e18afe6c144c8"),
        ("", "", "5e253af543acda876922e6ea0e60324e"),
        ('http://a.test/"q"', 'say "hi" \\ \n', "950bd0c4b5a7c9ae317bd0d218445154"),
        ("u", "\ud83d", "8480008569b7f631ac6a4a16346468dc"),  # half of a surrogate pair
    ],
)
def test_make_uid_is_the_digest_of_a_json_array(url: str, caption: str, uid: str) -> None:
    assert make_uid(url, caption) == uid


def test_make_uid_keeps_url_and_caption_apart() -> None:
    assert make_uid("a", "b") != make_uid("b", "a")
    assert make_uid('a", "b', "c") != make_uid("a", 'b", "c')
    assert make_uid("a", " b") != make_uid("a", "b")


def test_image_key_is_img2datasets() -> None:
    assert image_key(12, 7) == "000120007"
    assert image_key(99_999, 9_999) == "999999999"


@pytest.mark.parametrize("vocabulary", [Failure, Status])
def test_vocabularies_are_closed_snake_case_and_without_aliases(vocabulary: type) -> None:
    values = [member.value for member in vocabulary]
    assert len(values) == len(vocabulary.__members__)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", value) for value in values)
    with pytest.raises(ValueError, match="nonsense"):
        vocabulary("nonsense")


def test_the_pool_has_every_column_of_its_rows_and_of_img2dataset() -> None:
    assert set(ROWS_SCHEMA.names) <= set(POOL_SCHEMA.names)
    img2dataset = ["url", "caption", "key", "status", "error_message", "width", "height"]
    assert POOL_SCHEMA.names[: len(img2dataset)] == img2dataset
    for field in ROWS_SCHEMA:
        assert POOL_SCHEMA.field(field.name).type == field.type
