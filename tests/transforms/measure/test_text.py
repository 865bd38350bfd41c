"""Facts about captions: counted by hand, against plain formulas, and on hostile strings."""

import time
import unicodedata
from itertools import groupby
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.measure import text
from transforms.measure.text import TEXT_SCHEMA, text_facts

REAL = Path(__file__).parents[4] / "shared" / "data" / "url_lists" / "laion_10000.parquet"

# Fragments that nearly are what is counted, so that chance finds the borders.
PIECES = (
    "a A é 1 0 9 12 020 212 555 0123 +49 00 ( ) - . / : # @ x.com www. http:// IMG_ DSC 0012 .jpg "
    "click here for\xa0sale stock-photo 图片 包邮 电话 call phone: 2019 $ €"
)
FRAGMENTS = st.sampled_from([" ", *PIECES.split(" ")])
CAPTIONS = st.one_of(st.text(), st.lists(FRAGMENTS, max_size=12).map("".join))


def _fact(caption: str, column: str) -> float:
    return text_facts([caption])[column][0].as_py()


def test_facts_counted_by_hand() -> None:
    facts = text_facts(["  Two DOGS, 2 cats!! ", "", " \n\t"])
    assert facts.schema == TEXT_SCHEMA
    assert facts.slice(0, 1).to_pylist() == [
        {
            "words": 4,
            "chars": 18,
            "alphanumeric_share": pytest.approx(12 / 15),
            "digit_share": pytest.approx(1 / 15),
            "upper_share": pytest.approx(5 / 11),
            "repeated_bigram_share": 0,
            "repeated_trigram_share": 0,
            "longest_run": 2,
            "urls": 0,
            "boilerplate": 0,
            "emails": 0,
            "phones": 0,
        }
    ]
    assert {value for row in facts.slice(1).to_pylist() for value in row.values()} == {0}
    assert text_facts([]).schema == TEXT_SCHEMA


@pytest.mark.parametrize(
    ("caption", "alphanumeric"),
    [
        ("हिन्दी", 1.0),  # three vowel signs and virama are marks
        ("cafe\u0301!", 4 / 5),  # the accent belongs to its letter
        ("café!", 4 / 5),
        ("می\u200cخواهم", 1.0),  # a joiner is a format character
        ("٣ Ⅳ ½ 三", 1.0),
        ("❤\ufe0f", 0.0),
    ],
)
def test_marks_count_with_their_letter(caption: str, alphanumeric: float) -> None:
    assert _fact(caption, "alphanumeric_share") == pytest.approx(alphanumeric)


def test_repeats_counted_by_hand() -> None:
    facts = text_facts(["a b A b a b", "a b a", "one one", "x x x x"])
    assert facts["repeated_bigram_share"].to_pylist() == pytest.approx([3 / 5, 0, 0, 2 / 3])
    assert facts["repeated_trigram_share"].to_pylist() == pytest.approx([2 / 4, 0, 0, 1 / 2])


def test_the_longest_run_is_of_one_caption_and_not_of_spaces() -> None:
    facts = text_facts(["abb", "b----", "--", "a      b"])
    assert facts["longest_run"].to_pylist() == [2, 4, 2, 1]


@given(st.lists(CAPTIONS, max_size=4))
def test_facts_are_those_of_each_caption_by_plain_formulas(captions: list[str]) -> None:
    for caption, facts in zip(captions, text_facts(captions).to_pylist(), strict=True):
        categories = [unicodedata.category(c) for c in caption if not c.isspace()]
        seen = [kind for kind in categories if kind[0] != "M" and kind != "Cf"]
        cased = [kind for kind in seen if kind in ("Lu", "Lt", "Ll")]
        runs = [len(list(same)) for char, same in groupby(caption) if not char.isspace()]
        assert facts["words"] == len(caption.split())
        assert facts["chars"] == len(caption.strip())
        assert facts["longest_run"] == max(runs, default=0)
        numbers = sum(kind[0] == "N" for kind in seen)
        letters = sum(kind[0] == "L" for kind in seen)
        assert facts["digit_share"] == pytest.approx(numbers / max(1, len(seen)))
        assert facts["alphanumeric_share"] == pytest.approx((numbers + letters) / max(1, len(seen)))
        upper = len(cased) - cased.count("Ll")
        assert facts["upper_share"] == pytest.approx(upper / max(1, len(cased)))
        assert all(0 <= value <= 1 for name, value in facts.items() if name.endswith("share"))


@given(st.lists(CAPTIONS, max_size=4))
def test_no_hint_hides_what_would_be_counted(captions: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hinted = text_facts(captions)
        for name in ("LINKS_HINT", "BOILERPLATE_HINT", "PHONES_HINT"):
            patch.setattr(text, name, "")  # matches everything
        assert text_facts(captions) == hinted


@pytest.mark.skipif(not REAL.exists(), reason="needs the project's test data beside the checkout")
def test_no_hint_hides_anything_in_real_captions() -> None:
    captions = [each or "" for each in pq.read_table(REAL)["TEXT"].to_pylist()[:3000]]
    test_no_hint_hides_what_would_be_counted.hypothesis.inner_test(captions)  # pyright: ignore
    facts = text_facts(captions)
    assert 0 < sum(facts["urls"].to_pylist()) < 100
    assert 100 < sum(facts["boilerplate"].to_pylist()) < 500
    assert sum(facts["phones"].to_pylist()) < 10  # product numbers abound, telephones do not


@pytest.mark.parametrize(
    ("caption", "urls", "emails"),
    [
        ("see http://a.org/x?y=1, https://b.org and www.c.org", 3, 0),
        ("HTTPS://EXAMPLE.ORG/PATH", 1, 0),
        ("shoes at example.com/foo, or Example.co.uk.", 2, 0),
        ("请看example.com网站", 1, 0),
        ("http://例え.jp/", 1, 0),
        ("goo.gl/abc", 1, 0),
        ("The end.It was late. e.g. dogs, node.js, v1.2, photo.it, U.S.A", 0, 0),
        ("IMG_1234.jpg", 0, 0),
        ("mail jane.doe+cats@mail.example.org or j@x.de.", 0, 2),
        ("邮箱abc@example.com", 0, 1),
        ("@example is @home, a @ b.com", 1, 0),
        ("logo@2x.png", 0, 0),
    ],
)
def test_urls_and_emails(caption: str, urls: int, emails: int) -> None:
    assert (_fact(caption, "urls"), _fact(caption, "emails")) == (urls, emails)


@pytest.mark.parametrize(
    "caption",
    [
        "+49 30 901820",
        "+1 (212) 555-0123",
        "+442079460958",
        "+49 (0)30/901820",
        "0049 30 901820",
        "(212) 555-0123",
        "Repair 402-505-6600.",
        "1.212.555.0123",
        "020 7946 0958",
        "(030) 901 820",
        "01 23 45 67 89",
        "03-1234-5678まで",
        "138 1234 5678",
        "电话13812345678",
        "Tel.: 5550123",
        "call us now at 5550123",
        "Phone: 91 123 45 67",
    ],
)
def test_a_telephone_number_counts_once(caption: str) -> None:
    assert _fact(caption, "phones") == 1
    assert _fact(f"{caption}, {caption}", "phones") == 2


@pytest.mark.parametrize(
    "caption",
    [
        "2012-12-03",
        "01.02.2003 12:30",
        "12/18/2011",
        "1995-2000 Lumina",
        "phone: 2010-2015",
        "call 01.02.2003",
        "$1,234,567.89 or 1 000 000 €",
        "ISBN 978-3-16-148410-0",
        "ISBN 0-306-40615-2",
        "9780306813931: Elliott",
        "Stock Photo #12043266",
        "Part # 600-625-6382",
        "for sale 200627943",
        "99 00 01 02 03 04 05 Jeep",
        "DSC00012345",
        "1234567",
        "192.168.100.100",
        "4111 1111 1111 1111",
        "0.123456789",
        "1920x1080 1280x800",
        "555-0123",
        "3.141592653",
        "Michel 1527-1534, 055588/060688",
    ],
)
def test_what_is_no_telephone_number(caption: str) -> None:
    assert _fact(caption, "phones") == 0


@pytest.mark.parametrize(
    ("caption", "finds"),
    [
        ("Click  here for details. All Rights Reserved", 2),
        ("cow — Stock Photo", 1),
        ("a house FOR SALE", 1),
        ("royalty-free stock vector", 2),
        ("Image not available", 1),
        ("IMG_1234.jpg", 1),
        ("DSC00012", 1),
        ("P1010012.JPG P1010013", 2),
        ("my_IMG_1234", 1),
        ("Untitled", 1),
        ("[image]", 1),
        ("Haus zu verkaufen", 1),
        ("maison à\xa0vendre", 1),
        ("正品包邮 点击查看", 2),
        ("an image of a dog for salesmen", 0),
        ("livestock photography award", 0),
        ("in stock, photos of the null space", 0),
        ("the dsc. image1 of p12345", 0),
        ("a dog jumps over a log in the woods, a sign up a hill", 0),
    ],
)
def test_boilerplate(caption: str, finds: int) -> None:
    assert _fact(caption, "boilerplate") == finds


HOSTILE = [
    *("a", "1", "1 ", "0 1", "(0)", "+1", "1-", "0123 ", "+1 2 3 4 5 6 ", "call 1 2 3 4 5 6 "),
    *("a.", "a@", "a-", "a%", "é@a.", ".a", "www.", "http://", "a.aa/", "call us now ", "tel. "),
    *("img_1", "click    hero", "no ", "image   ", "_", "stock-", "a b ", "\u0301", "🙂"),
]


@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_caption_costs_less_than_a_second(part: str) -> None:
    caption = (part * 100_000)[:100_000]
    began_s = time.process_time()
    facts = text_facts([caption])
    assert time.process_time() - began_s < 1
    assert facts["chars"][0].as_py() == len(caption.strip())


@settings(max_examples=20)
@given(st.lists(CAPTIONS, max_size=6))
def test_a_caption_has_the_same_facts_in_any_company(captions: list[str]) -> None:
    together = text_facts(captions).to_pylist()
    assert together == [text_facts([caption]).to_pylist()[0] for caption in captions]
