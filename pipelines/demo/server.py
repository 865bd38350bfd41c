"""Serve a demo over real HTTP on loopback. It answers by URL only, never by count or time."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterator, Mapping

from aiohttp import web

from pipelines.demo.answers import STATUS, Answer, body
from pipelines.demo.corpus import DOMAIN, REFUSING_HOST
from pipelines.demo.kinds import Kind

_BACKLOG = 1024  # connections that may wait: a fetch opens hundreds at once
_TRICKLE_S = 0.5
_CLOSING_S = 1.0  # for answers in hand when the server is closed


@contextlib.contextmanager
def serve(answers: Mapping[str, Answer]) -> Iterator[dict[str, str]]:
    """Serve from a thread of this process until the block ends.

    Yields: the `resolve` map for fetch, host or `*.domain` to address:port. An exact host goes
    before the wildcard: nobody listens at the address of `REFUSING_HOST`."""
    closing = asyncio.Event()
    loop = asyncio.new_event_loop()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listening,
        socket.socket() as refusing,
    ):
        refusing.bind(("127.0.0.1", 0))  # held but not listened at, so that no one else can
        work = _serve(answers, listening, closing)
        thread = threading.Thread(target=_run, args=(loop, work), name="demo-server", daemon=True)
        thread.start()
        try:
            yield {REFUSING_HOST: _address(refusing), f"*.{DOMAIN}": _address(listening)}
        finally:
            loop.call_soon_threadsafe(closing.set)
            thread.join()


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[None, None, None]) -> None:
    with contextlib.closing(loop):
        loop.run_until_complete(work)
        loop.run_until_complete(loop.shutdown_default_executor())


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


async def _serve(
    answers: Mapping[str, Answer], listening: socket.socket, closing: asyncio.Event
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        url = f"http://{request.host.partition(':')[0]}{request.raw_path}"
        return await _respond(request, answers.get(url), closing)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING_S)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    await closing.wait()
    await runner.cleanup()


async def _respond(
    request: web.Request, answer: Answer | None, closing: asyncio.Event
) -> web.StreamResponse:
    if answer is None:
        return web.Response(status=404)
    if answer.location is not None:
        return web.Response(status=302, headers={"Location": answer.location})
    if answer.kind is Kind.SLOW:
        return await _trickle(request, closing)
    data = await asyncio.to_thread(body, answer)
    if answer.kind is Kind.CUT_TRANSFER:
        return await _cut(request, data)
    status = STATUS.get(answer.kind, 200)
    return web.Response(status=status, body=data, content_type="image/jpeg")


async def _trickle(request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
    """A byte now and then, until the client goes or the server is closed."""
    response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client has had enough: as planned
        while not closing.is_set():
            await response.write(b"\xff")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(closing.wait(), _TRICKLE_S)
    return response


async def _cut(request: web.Request, data: bytes) -> web.StreamResponse:
    """Promise all of `data`, send half, hang up."""
    headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(data))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
