"""urllib with bounds, as img2dataset uses it: open the URL, read it whole."""

import http.client
import urllib.error

import pytest

from schemas.pair import Failure
from transforms.fetch.bounded_opener import make_opener
from transforms.fetch.messages import classify_message
from transforms.fetch.policy import FetchPolicy


def read(url, **settings):
    policy = FetchPolicy(**{"timeout_s": 5.0, **settings})
    with make_opener(policy).open(url, timeout=policy.timeout_s) as response:
        return response.read()


def refusal(url, **settings):
    try:
        read(url, **settings)
    except urllib.error.HTTPError as err:
        with err:
            return classify_message(str(err))
    except (OSError, ValueError, http.client.HTTPException) as err:
        return classify_message(str(err))
    pytest.fail("was read")


def test_resolve_keeps_the_host_header(site):
    site.answers["/x"] = site.answer(200, b"here")
    assert read("http://a.demo.test/x", resolve={"*.demo.test": site.address}) == b"here"
    assert site.requests[0]["host"] == "a.demo.test"


def test_redirects_are_followed_to_their_limit(site):
    site.answers |= {f"/{n}": site.answer(302, Location=f"/{n + 1}") for n in range(3)}
    site.answers["/3"] = site.answer(200, b"here")
    assert read(site.url("/0"), max_redirects=3) == b"here"
    assert refusal(site.url("/0"), max_redirects=2) == Failure.REDIRECTS


def test_a_trickling_body_meets_the_deadline(site):
    site.answers["/x"] = site.trickle(b"x")
    assert refusal(site.url("/x"), timeout_s=0.3) == Failure.TIMEOUT


def test_a_trickling_header_meets_the_deadline(site):
    site.answers["/x"] = site.slowly(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000)
    assert refusal(site.url("/x"), timeout_s=0.3) == Failure.TIMEOUT


@pytest.mark.parametrize("over", [0, 1])
def test_bodies_have_a_limit_with_and_without_a_length(site, over):
    site.answers["/known"] = site.answer(200, b"a" * (100 + over))
    site.answers["/chunked"] = site.chunked(b"a" * 50, b"b" * (50 + over))
    for path in ("/known", "/chunked"):
        if over:
            assert refusal(site.url(path), max_bytes=100) == Failure.TOO_LARGE
        else:
            assert len(read(site.url(path), max_bytes=100)) == 100


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Failure.BROKEN_TRANSFER),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Failure.BROKEN_TRANSFER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Failure.EMPTY_BODY),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", Failure.NOT_FOUND),
        (b"HTTP/1.1 302 No\r\nLocation: file:///etc/passwd\r\n\r\n", Failure.BAD_URL),
        (b"", Failure.CONNECT),
    ],
)
def test_broken_answers_have_their_class(site, told, why):
    site.answers["/x"] = site.raw(told) if told else site.raw()
    assert refusal(site.url("/x")) == why


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_nothing_but_http_is_opened(url):
    assert refusal(url) == Failure.BAD_URL


def test_https_to_a_server_that_has_none_is_a_tls_failure(site):
    assert refusal(f"https://{site.address}/x") == Failure.TLS
