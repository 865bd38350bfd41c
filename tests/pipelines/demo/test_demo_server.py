"""Each kind is asked for over real HTTP on loopback, as a fetch would."""

import asyncio
import io
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from urllib.parse import urlsplit

import aiohttp
import pytest
from PIL import Image, UnidentifiedImageError

from pipelines.demo.corpus import DemoPlan, PlannedRow, plan_demo
from pipelines.demo.kinds import GOOD_KINDS, Kind
from pipelines.demo.pictures import original_bytes
from pipelines.demo.server import serve

Got = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def plan() -> DemoPlan:
    return plan_demo(120, seed=9)


@pytest.fixture(scope="module")
def resolve(plan: DemoPlan) -> Iterator[dict[str, str]]:
    with serve(plan.answers) as addresses:
        yield addresses


def get(url: str, resolve: dict[str, str]) -> Got:
    parts = urlsplit(url)
    host = parts.hostname or ""
    address, _, port = resolve.get(host, resolve["*.demo.test"]).partition(":")
    connection = HTTPConnection(address, int(port), timeout=20)
    try:
        connection.request("GET", parts.path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def of_kind(plan: DemoPlan, *kinds: Kind) -> list[PlannedRow]:
    rows = [row for row in plan.rows if row.kind in kinds]
    assert rows
    return rows


def whole_image(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


@pytest.mark.parametrize(
    "kind", [*sorted(GOOD_KINDS - {Kind.REDIRECT}), Kind.EXACT_COPY, Kind.WRONG_CAPTION]
)
def test_pictures_and_exact_copies_are_the_same_bytes(
    plan: DemoPlan, resolve: dict[str, str], kind: Kind
):
    row = next(r for r in of_kind(plan, kind) if plan.answers[r.url].location is None)
    status, headers, data = get(row.url, resolve)
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert data == original_bytes(plan.answers[row.url].picture)
    assert min(whole_image(data).size) >= 64


def test_a_redirect_leads_to_the_picture(plan: DemoPlan, resolve: dict[str, str]):
    row = of_kind(plan, Kind.REDIRECT)[0]
    status, headers, _ = get(row.url, resolve)
    assert status == 302
    status, _, data = get(headers["location"], resolve)
    assert (status, data) == (200, original_bytes(plan.answers[row.url].picture))


def test_a_redirect_loop_comes_back(plan: DemoPlan, resolve: dict[str, str]):
    url = of_kind(plan, Kind.REDIRECT_LOOP)[0].url
    _, first, _ = get(url, resolve)
    status, second, _ = get(first["location"], resolve)
    assert (status, second["location"]) == (302, url)


@pytest.mark.parametrize(
    ("kind", "status"), [(Kind.NOT_FOUND, 404), (Kind.GONE, 410), (Kind.SERVER_ERROR, 500)]
)
def test_dead_links_have_their_status_every_time(
    plan: DemoPlan, resolve: dict[str, str], kind: Kind, status: int
):
    url = of_kind(plan, kind)[0].url
    assert [get(url, resolve)[0] for _ in range(3)] == [status] * 3


def test_an_unplanned_url_is_not_there(resolve: dict[str, str]):
    assert get("http://img1.demo.test/photos/none.jpg", resolve)[0] == 404


def test_a_page_says_it_is_an_image(plan: DemoPlan, resolve: dict[str, str]):
    status, headers, data = get(of_kind(plan, Kind.HTML)[0].url, resolve)
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    with pytest.raises(UnidentifiedImageError):
        whole_image(data)


def test_broken_files_cannot_be_opened(plan: DemoPlan, resolve: dict[str, str]):
    answers = [get(row.url, resolve) for row in of_kind(plan, Kind.BROKEN_FILE)]
    assert {data[:2] == b"\xff\xd8" for _, _, data in answers} == {True, False}
    assert b"" in [data for _, _, data in answers]
    for status, headers, data in answers:
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        with pytest.raises(OSError, match=r"cannot identify|Truncated"):
            whole_image(data)


def test_truncated_files_open_but_do_not_decode(plan: DemoPlan, resolve: dict[str, str]):
    for row in of_kind(plan, Kind.TRUNCATED):
        status, _, data = get(row.url, resolve)
        assert status == 200
        with pytest.raises(OSError, match="truncated"):
            whole_image(data)


def test_a_cut_transfer_ends_before_its_length(plan: DemoPlan, resolve: dict[str, str]):
    for row in of_kind(plan, Kind.CUT_TRANSFER):
        with pytest.raises(IncompleteRead):
            get(row.url, resolve)


def test_a_reencoded_copy_is_another_file_of_the_picture(plan: DemoPlan, resolve: dict[str, str]):
    row = of_kind(plan, Kind.REENCODED_COPY)[0]
    data = get(row.url, resolve)[2]
    original = original_bytes(plan.answers[row.url].picture)
    assert len(data) < len(original)
    small, large = whole_image(data), whole_image(original)
    assert small.width == round(large.width * 0.8)
    assert min(small.size) >= 64


def test_tiny_and_stretched_pictures(plan: DemoPlan, resolve: dict[str, str]):
    tiny = whole_image(get(of_kind(plan, Kind.TINY)[0].url, resolve)[2])
    assert max(tiny.size) < 64
    strips = [whole_image(get(r.url, resolve)[2]) for r in of_kind(plan, Kind.EXTREME_ASPECT)]
    assert {strip.size for strip in strips} == {(320, 80), (80, 320)}


def test_nobody_listens_at_the_refusing_host(plan: DemoPlan, resolve: dict[str, str]):
    with pytest.raises(ConnectionRefusedError):
        get(of_kind(plan, Kind.REFUSED)[0].url, resolve)


def test_a_slow_host_never_ends_but_closes_with_the_server(plan: DemoPlan):
    url = urlsplit(of_kind(plan, Kind.SLOW)[0].url)
    with serve(plan.answers) as addresses:
        address, _, port = addresses["*.demo.test"].partition(":")
        client = socket.create_connection((address, int(port)), timeout=20)
        client.sendall(f"GET {url.path} HTTP/1.1\r\nHost: {url.hostname}\r\n\r\n".encode())
        got = b""
        while got.count(b"\xff") < 2:  # it trickles, and is not done after the first byte
            got += client.recv(1024)
    with client:
        while client.recv(1024):
            pass  # the end comes, or the socket's own time-out fails this test
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, int(port)), timeout=20)


def test_hundreds_of_clients_at_once_get_their_answers(plan: DemoPlan, resolve: dict[str, str]):
    urls = [row.url for row in of_kind(plan, Kind.NOT_FOUND, Kind.GOOD)] * 6

    async def ask_all() -> list[int]:
        unlimited = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=unlimited) as session:
            return await asyncio.gather(*(ask(session, url) for url in urls))

    async def ask(session: aiohttp.ClientSession, url: str) -> int:
        parts = urlsplit(url)
        target = f"http://{resolve['*.demo.test']}{parts.path}"
        async with session.get(target, headers={"Host": parts.netloc}) as answer:
            await answer.read()
            return answer.status

    assert len(urls) > 200
    wanted = [200 if "/photos/" in url else 404 for url in urls]
    assert asyncio.run(ask_all()) == wanted
