import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.fetch.hosts import find_target, parse_target, parse_url


@pytest.mark.parametrize(
    "text",
    [
        "http://a.test/x.jpg",
        "https://a.test:8443/x.jpg?a=1&b=%2F%2B%7e#part",
        "http://a.test/a%20b/(1)?sig=A%2bB%3D",
        "http://[::1]:8080/x",
    ],
)
def test_a_well_formed_url_is_kept_to_the_letter(text):
    assert str(parse_url(text)) == text


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("  http://a.test/x.jpg\n", "http://a.test/x.jpg"),
        ("http://bücher.test/ä b.jpg", "http://xn--bcher-kva.test/%C3%A4%20b.jpg"),
        ("HTTP://A.test/x|y", "http://a.test/x%7Cy"),
        ("http://a.test/100%.jpg", "http://a.test/100%25.jpg"),
    ],
)
def test_any_other_url_is_escaped_as_a_browser_would(text, wire):
    assert str(parse_url(text)) == wire


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x.jpg",
        "//a.test/x.jpg",
        "ftp://a.test/x.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "http://",
        "http:///x.jpg",
        "http://a.test:99999/",
        "http://a.test:port/",
        "http://[::1/",
        "http://a b.test/",
        "http://\ud800.test/",
    ],
)
def test_what_is_no_http_url_with_a_host_is_none(text):
    assert parse_url(text) is None


@given(st.text() | st.text().map("http://".__add__) | st.text().map("http://a.test/".__add__))
def test_no_text_makes_parsing_raise_and_a_result_can_go_on_the_wire(text):
    url = parse_url(text)
    assert url is None or (str(url).isascii() and url.scheme in ("http", "https"))


RESOLVE = {
    "demo.test": "127.0.0.1:1",
    "*.demo.test": "127.0.0.1:2",
    "*.b.demo.test": "127.0.0.1:3",
    "a.demo.test": "[::1]:4",
}


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("demo.test", ("127.0.0.1", 1)),
        ("x.demo.test", ("127.0.0.1", 2)),
        ("x.y.demo.test", ("127.0.0.1", 2)),
        ("x.b.demo.test", ("127.0.0.1", 3)),
        ("b.demo.test", ("127.0.0.1", 2)),
        ("A.Demo.Test.", ("::1", 4)),
        ("notdemo.test", None),
        ("demo.test.org", None),
    ],
)
def test_the_nearest_entry_of_a_resolve_map_wins(host, target):
    assert find_target(host, RESOLVE) == target


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not address:port"),
        ("127.0.0.1", "is not address:port"),
        ("127.0.0.1:", "is not address:port"),
        ("127.0.0.1:0", "is not address:port"),
        ("127.0.0.1:65536", "is not address:port"),
        ("::1:80", "in brackets"),
        ("a.test:80", "does not start with an IP address"),
    ],
)
def test_a_target_is_an_address_and_a_port(text, told):
    with pytest.raises(ValueError, match=told):
        parse_target(text)
