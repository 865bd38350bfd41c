"""Real HTTP on loopback: what servers do becomes a class, and never touches another image."""

import asyncio
import gzip
import socket

import pytest

from schemas.pair import Failure
from transforms.fetch.download import download_all
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.records import Download, Failed

QUICK = {"timeout_s": 5.0, "retries": 0, "backoff_s": 0.0}


def fetch(urls, **settings):
    """Every URL's result, in the order of `urls`."""
    results = {}

    async def take(index, result):
        assert index not in results
        results[index] = result

    asyncio.run(download_all(urls, FetchPolicy(**{**QUICK, **settings}), take))
    return [results[index] for index in range(len(urls))]


def fetch_one(url, **settings):
    return fetch([url], **settings)[0]


def failure(result):
    assert isinstance(result, Failed), result
    return result.failure


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (400, Failure.CLIENT_ERROR),
        (401, Failure.FORBIDDEN),
        (403, Failure.FORBIDDEN),
        (404, Failure.NOT_FOUND),
        (410, Failure.GONE),
        (418, Failure.CLIENT_ERROR),
        (429, Failure.TOO_MANY_REQUESTS),
        (451, Failure.FORBIDDEN),
        (500, Failure.SERVER_ERROR),
        (503, Failure.SERVER_ERROR),
        (599, Failure.SERVER_ERROR),
        (302, Failure.REDIRECTS),
        (304, Failure.REDIRECTS),
    ],
)
def test_each_status_has_its_class(site, status, why):
    site.answers["/x"] = site.answer(status, b"sorry" if status != 304 else b"")
    result = fetch_one(site.url("/x"))
    assert failure(result) == why
    assert str(status) in result.detail


def test_a_body_comes_as_it_is(site):
    site.answers["/x"] = site.answer(200, bytes(range(256)) * 500)
    assert fetch_one(site.url("/x")) == Download(body=bytes(range(256)) * 500)


def test_a_trickling_body_meets_the_deadline(site):
    site.answers["/x"] = site.trickle(b"\xff" * 100)
    assert failure(fetch_one(site.url("/x"), timeout_s=0.3, retries=3)) == Failure.TIMEOUT
    assert site.asked["/x"] == 1  # what used its time is not tried again


def test_a_trickling_header_meets_the_deadline(site):
    site.answers["/x"] = site.slowly(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000)
    assert failure(fetch_one(site.url("/x"), timeout_s=0.3)) == Failure.TIMEOUT


@pytest.mark.parametrize("bytes_over", [0, 1])
def test_the_byte_limit_holds_without_a_content_length(site, bytes_over):
    site.answers["/x"] = site.chunked(b"a" * 600, b"b" * (400 + bytes_over))
    result = fetch_one(site.url("/x"), max_bytes=1000)
    assert isinstance(result, Failed) == bool(bytes_over)
    assert not bytes_over or failure(result) == Failure.TOO_LARGE


def test_an_announced_size_over_the_limit_is_not_read(site):
    site.answers["/x"] = site.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
    assert failure(fetch_one(site.url("/x"), max_bytes=1000)) == Failure.TOO_LARGE


def test_the_byte_limit_counts_what_a_compressed_body_becomes(site):
    bomb = gzip.compress(bytes(3_000_000))
    site.answers["/bomb"] = site.answer(200, bomb, Content_Encoding="gzip")
    site.answers["/fine"] = site.answer(200, gzip.compress(b"pixels"), Content_Encoding="gzip")
    bombed, fine = fetch([site.url("/bomb"), site.url("/fine")], max_bytes=1_000_000)
    assert len(bomb) < 1_000_000
    assert failure(bombed) == Failure.TOO_LARGE
    assert fine == Download(body=b"pixels")


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"], Failure.BROKEN_TRANSFER),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
            Failure.BROKEN_TRANSFER,
        ),
        (
            [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"],
            Failure.BROKEN_TRANSFER,
        ),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"], Failure.BROKEN_TRANSFER),
        ([b"this is no HTTP at all\r\n\r\n"], Failure.BROKEN_TRANSFER),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], Failure.EMPTY_BODY),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], Failure.EMPTY_BODY),
        ([], Failure.CONNECT),
    ],
)
def test_broken_answers_have_their_class(site, parts, why):
    site.answers["/x"] = site.raw(*parts)
    assert failure(fetch_one(site.url("/x"))) == why


def test_a_closed_port_is_a_failure_to_connect_in_words_without_the_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = fetch_one(f"http://127.0.0.1:{port}/x")
    assert failure(result) == Failure.CONNECT
    assert result.detail == "Connection refused"


def test_https_to_a_server_that_has_none_is_a_tls_failure(site):
    assert failure(fetch_one(f"https://{site.address}/x")) == Failure.TLS


@pytest.mark.parametrize(("number", "attempts"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 3)])
def test_only_a_passing_dns_failure_is_tried_again(monkeypatch, number, attempts):
    asked = []

    def getaddrinfo(host, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror(number, "told so")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    result = fetch_one("http://nowhere.test/x", retries=2)
    assert failure(result) == Failure.DNS
    assert result.detail == "told so"
    assert len(asked) == attempts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://a.test/x",
        "file:///etc/passwd",
        "http://",
        "http://a..b/x",
        f"http://{'a' * 64}.test/",
        "http://127.1/x",
        "http://2130706433/x",
        "http://a.test:0x50/",
    ],
)
def test_odd_urls_are_bad_urls(url):
    assert failure(fetch_one(url)) == Failure.BAD_URL


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site, status):
    site.answers["/a/x"] = site.answer(status, b"go", Location="../b%20c")
    site.answers["/b%20c"] = site.answer(200, b"here")
    assert fetch_one(site.url("/a/x")) == Download(body=b"here")


def test_a_redirect_loop_ends(site):
    site.answers["/a"] = site.answer(302, Location="/b")
    site.answers["/b"] = site.answer(302, Location=site.url("/a"))
    assert failure(fetch_one(site.url("/a"), max_redirects=10)) == Failure.REDIRECTS
    assert site.asked == {"/a": 1, "/b": 1}


@pytest.mark.parametrize(("hops", "arrives"), [(2, True), (3, False)])
def test_redirects_have_a_limit(site, hops, arrives):
    for hop in range(hops):
        site.answers[f"/{hop}"] = site.answer(302, Location=f"/{hop + 1}")
    site.answers[f"/{hops}"] = site.answer(200, b"here")
    result = fetch_one(site.url("/0"), max_redirects=2)
    assert isinstance(result, Download) == arrives
    assert arrives or failure(result) == Failure.REDIRECTS


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://a.test/", "http://", "//", "\xff\xfe"]
)
def test_a_redirect_away_from_http_is_not_followed(site, location):
    told = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    site.answers["/x"] = site.raw(told.encode("latin-1"))
    result = fetch_one(site.url("/x"))
    assert failure(result) in (Failure.BAD_URL, Failure.REDIRECTS)
    assert result.message().encode()
    assert len(result.message()) <= 300


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(site, status):
    site.answers["/x"] = [site.answer(status), site.answer(status), site.answer(200, b"here")]
    assert fetch_one(site.url("/x"), retries=2) == Download(body=b"here")
    assert site.asked["/x"] == 3


def test_a_broken_transfer_is_tried_again(site):
    broken = site.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    site.answers["/x"] = [broken, site.answer(200, b"here")]
    assert fetch_one(site.url("/x"), retries=1) == Download(body=b"here")


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_will_not_pass_is_asked_once(site, status):
    site.answers["/x"] = [site.answer(status), site.answer(200, b"too late")]
    assert isinstance(fetch_one(site.url("/x"), retries=3), Failed)
    assert site.asked["/x"] == 1


def test_the_last_retry_says_why(site):
    site.answers["/x"] = [site.answer(503), site.answer(500), site.answer(404)]
    assert failure(fetch_one(site.url("/x"), retries=1)) == Failure.SERVER_ERROR
    assert site.asked["/x"] == 2


def test_backoff_doubles(site, monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr("transforms.fetch.download.asyncio.sleep", sleep)
    site.answers["/x"] = site.raw(b"HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n")
    fetch_one(site.url("/x"), retries=3, backoff_s=0.25)
    assert [pause for pause in pauses if pause] == [0.25, 0.5, 1.0]


def test_resolve_sends_hosts_elsewhere_and_changes_nothing_else(site):
    site.answers["/x"] = site.answer(200, b"here")
    resolve = {"*.demo.test": site.address, "plain.test": site.address}
    urls = ["http://a.demo.test/x", "http://b.c.demo.test:8080/x", "http://plain.test/x"]
    assert fetch(urls, resolve=resolve) == [Download(body=b"here")] * 3
    hosts = sorted(request["host"] for request in site.requests)
    assert hosts == ["a.demo.test", "b.c.demo.test:8080", "plain.test"]


def test_resolve_holds_for_redirects(site):
    site.answers["/x"] = site.answer(302, Location="http://b.demo.test/y")
    site.answers["/y"] = site.answer(200, b"here")
    result = fetch_one("http://a.demo.test/x", resolve={"*.demo.test": site.address})
    assert result == Download(body=b"here")


def test_servers_are_told_who_asks_and_get_no_cookies_back(site):
    site.answers["/x"] = site.answer(200, b"here", Set_Cookie="a=b; Path=/")
    fetch([site.url("/x"), site.url("/x")], user_agent="Mill/7", concurrency=1)
    assert [request["user-agent"] for request in site.requests] == ["Mill/7"] * 2
    assert not any("cookie" in request for request in site.requests)


def test_a_failure_touches_no_other_image(site):
    site.answers |= {f"/{n}": site.answer(200, b"%d" % n) for n in range(20)}
    site.answers["/slow"] = site.trickle(b"x")
    urls = [site.url(f"/{n}") for n in range(20)]
    odd = ["nonsense", site.url("/slow"), site.url("/missing"), "http://a..b/"]
    results = fetch([*urls[:10], *odd, *urls[10:]], timeout_s=1.0)
    bodies = [result.body for result in results if isinstance(result, Download)]
    assert bodies == [b"%d" % n for n in range(20)]
    assert [failure(result) for result in results[10:14]] == [
        Failure.BAD_URL,
        Failure.TIMEOUT,
        Failure.NOT_FOUND,
        Failure.BAD_URL,
    ]


def test_no_more_bodies_are_held_than_there_are_places(site):
    site.answers |= {f"/{n}": site.answer(200, b"body") for n in range(30)}
    held = most = 0

    async def take(index, result):
        nonlocal held, most
        held += 1
        most = max(most, held)
        await asyncio.sleep(0.01)
        held -= 1

    urls = [site.url(f"/{n}") for n in range(30)]
    asyncio.run(download_all(urls, FetchPolicy(**QUICK, concurrency=4), take))
    assert 1 < most <= 4
    assert site.asked.total() == 30


def test_an_error_of_the_taker_comes_out_as_it_is(site):
    site.answers["/x"] = site.answer(200, b"body")

    async def take(index, result):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        asyncio.run(download_all([site.url("/x")] * 5, FetchPolicy(**QUICK), take))
