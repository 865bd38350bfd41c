"""Download images by asynchronous HTTP: each within a deadline and a size, each on its own.

What one URL does never touches another. A failure has a class (schemas.pair.Failure); what may
pass is tried again. Redirects are followed here, one hop at a time, so that every address that
will be asked passes through one place.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from http import HTTPStatus

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from schemas.pair import Failure
from transforms.fetch.hosts import find_target, parse_url
from transforms.fetch.policy import LONGEST_BACKOFF_S, FetchPolicy
from transforms.fetch.records import Download, Failed

Take = Callable[[int, Download | Failed], Awaitable[None]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BY_STATUS: dict[int, Failure] = {
    HTTPStatus.NOT_FOUND: Failure.NOT_FOUND,
    HTTPStatus.GONE: Failure.GONE,
    HTTPStatus.UNAUTHORIZED: Failure.FORBIDDEN,
    HTTPStatus.FORBIDDEN: Failure.FORBIDDEN,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: Failure.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS: Failure.TOO_MANY_REQUESTS,
}


async def download_all(urls: Sequence[str], policy: FetchPolicy, take: Take) -> None:
    """Download every URL and hand (its index, what came of it) to `take`, in no set order.

    Memory: a worker begins its next download only when `take` has returned, so at most
    `policy.concurrency` bodies are held at any time.

    Raises: whatever `take` raises; all other downloads are then given up."""
    jobs = iter(enumerate(urls))
    try:
        async with _open_session(policy) as session, asyncio.TaskGroup() as workers:
            for _ in range(min(policy.concurrency, len(urls))):
                workers.create_task(_work(session, jobs, policy, take))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def download(
    session: aiohttp.ClientSession, text: str, policy: FetchPolicy
) -> Download | Failed:
    """Download one URL, with retries. Never raises for what a URL or its server does."""
    url = parse_url(text)
    if url is None:
        return Failed(failure=Failure.BAD_URL, detail="not an http(s) URL with a host")
    result = await _attempt(session, url, policy)
    for retry in range(policy.retries):
        if isinstance(result, Download) or not result.may_pass:
            break
        await asyncio.sleep(min(policy.backoff_s * 2**retry, LONGEST_BACKOFF_S))
        result = await _attempt(session, url, policy)
    return result


class MappedResolver(AbstractResolver):
    """DNS, but for the hosts in a `resolve` map. URL, Host header and TLS name stay as they are."""

    def __init__(self, resolve: dict[str, str]) -> None:
        self._resolve = resolve
        self._dns = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        target = find_target(host, self._resolve)
        if target is None:
            return await self._dns.resolve(host, port, family)
        address, port = target
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
        ]

    async def close(self) -> None:
        await self._dns.close()


def _open_session(policy: FetchPolicy) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=policy.concurrency, resolver=MappedResolver(policy.resolve)
        ),
        cookie_jar=aiohttp.DummyCookieJar(),  # no image's answer may depend on another's
        timeout=aiohttp.ClientTimeout(total=None),  # the deadline is ours: it spans redirects
        headers={"User-Agent": policy.user_agent, "Accept-Encoding": "identity"},
    )


async def _work(
    session: aiohttp.ClientSession,
    jobs: Iterator[tuple[int, str]],
    policy: FetchPolicy,
    take: Take,
) -> None:
    for index, url in jobs:
        await take(index, await download(session, url, policy))


async def _attempt(
    session: aiohttp.ClientSession, url: yarl.URL, policy: FetchPolicy
) -> Download | Failed:
    try:
        async with asyncio.timeout(policy.timeout_s):
            return await _follow(session, url, policy)
    except TimeoutError:
        detail = f"no whole answer in {policy.timeout_s:g} s"
        return Failed(failure=Failure.TIMEOUT, detail=detail)
    except (aiohttp.ClientError, OSError, ValueError) as err:
        return _classify(err)


async def _follow(
    session: aiohttp.ClientSession, url: yarl.URL, policy: FetchPolicy
) -> Download | Failed:
    seen = {url}
    for _ in range(policy.max_redirects + 1):
        async with session.get(url, allow_redirects=False) as response:
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return await _read(response, policy.max_bytes)
        target = _redirect_target(url, location)
        if target is None:
            return Failed(failure=Failure.BAD_URL, detail=f"redirected to {location}")
        if target in seen:
            return Failed(failure=Failure.REDIRECTS, detail="a loop")
        seen.add(url := target)
    return Failed(failure=Failure.REDIRECTS, detail=f"more than {policy.max_redirects}")


def _redirect_target(url: yarl.URL, location: str) -> yarl.URL | None:
    """A Location may be relative, and may be anything at all."""
    absolute = parse_url(location)
    return absolute or parse_url(str(url.join(yarl.URL(location))))


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> Download | Failed:
    if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        return _refused(response.status)
    too_large = Failed(failure=Failure.TOO_LARGE, detail=f"more than {max_bytes} bytes")
    if (response.content_length or 0) > max_bytes:
        return too_large
    body = bytearray()
    async for chunk in response.content.iter_any():  # decompressed, so a bomb is counted too
        body += chunk
        if len(body) > max_bytes:
            return too_large
    if not body:
        return Failed(failure=Failure.EMPTY_BODY, detail="an answer without a body")
    return Download(body=bytes(body))


def _refused(status: int) -> Failed:
    detail = f"HTTP {status}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Failed(failure=Failure.SERVER_ERROR, detail=detail, may_pass=True)
    if status < HTTPStatus.BAD_REQUEST:
        return Failed(failure=Failure.REDIRECTS, detail=f"{detail} without a way on")
    failure = _BY_STATUS.get(status, Failure.CLIENT_ERROR)
    may_pass = status == HTTPStatus.TOO_MANY_REQUESTS
    return Failed(failure=failure, detail=detail, may_pass=may_pass)


def _classify(err: aiohttp.ClientError | OSError | ValueError) -> Failed:
    """Class of an error; the order matters, for aiohttp's classes inherit from each other."""
    match err:
        case aiohttp.ClientConnectorDNSError():
            passing = err.os_error.errno == socket.EAI_AGAIN
            why = err.os_error.strerror or "no address"
            return Failed(failure=Failure.DNS, detail=why, may_pass=passing)
        case aiohttp.ClientConnectorCertificateError():
            return Failed(failure=Failure.TLS, detail=str(err.certificate_error))
        case aiohttp.ClientSSLError():
            return Failed(failure=Failure.TLS, detail=_reason(err.os_error))
        case aiohttp.ClientPayloadError():
            detail = "the body ended early or is badly encoded"
            return Failed(failure=Failure.BROKEN_TRANSFER, detail=detail, may_pass=True)
        case aiohttp.ClientResponseError():
            detail = "not a valid HTTP answer"
            return Failed(failure=Failure.BROKEN_TRANSFER, detail=detail, may_pass=True)
        case ValueError():  # also aiohttp.InvalidURL, and names that IDNA refuses
            return Failed(failure=Failure.BAD_URL, detail="no host can be asked for it")
        case aiohttp.ClientConnectionError() | OSError():
            return Failed(failure=Failure.CONNECT, detail=_reason(err), may_pass=True)
        case _:
            return Failed(failure=Failure.OTHER, detail=type(err).__name__)


def _reason(err: Exception) -> str:
    """Words for an OSError without the address in it, which differs from run to run."""
    if isinstance(err, ssl.SSLError) and err.reason:
        return err.reason
    number = err.errno if isinstance(err, OSError) else None
    return os.strerror(number) if number and number > 0 else type(err).__name__
