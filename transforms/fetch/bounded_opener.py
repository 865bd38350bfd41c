"""An opener for urllib with bounds: a deadline, a size, http(s) only, a `resolve` map.

img2dataset downloads through urllib, whose time-outs hold for each read alone and whose reads
have no limit: a server that trickles holds a thread for ever. Bounds go in where urllib lets
them, below img2dataset's own code. Messages begin with a failure's class (messages.py).
"""

import http.client
import socket
import ssl
import time
import urllib.request
from functools import partial
from typing import Any

from schemas.pair import Failure
from transforms.fetch.hosts import find_target
from transforms.fetch.policy import FetchPolicy


def make_opener(policy: FetchPolicy) -> urllib.request.OpenerDirector:
    """urllib's opener without files, FTP and proxies. The deadline holds for each hop."""
    opener = urllib.request.OpenerDirector()
    handlers = (
        _Http(policy),
        _Https(policy),
        _redirects(policy),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _redirects(policy: FetchPolicy) -> urllib.request.BaseHandler:
    limit = {"max_redirections": policy.max_redirects}  # urllib reads it from the class
    return type("_Redirects", (urllib.request.HTTPRedirectHandler,), limit)()


class _Bounded:
    """A socket's part: no read lasts beyond the deadline, however often bytes trickle in."""

    deadline_s: float | None = None  # by time.monotonic

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        if self.deadline_s is not None:
            left_s = self.deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{Failure.TIMEOUT}: no whole answer in time")
            self.settimeout(left_s)  # type: ignore[attr-defined]
        return super().recv_into(buffer, nbytes or 0, flags)  # type: ignore[misc]


class _BoundedSocket(_Bounded, socket.socket):
    pass


class _BoundedTls(_Bounded, ssl.SSLSocket):
    pass


class _BoundedResponse(http.client.HTTPResponse):
    """An answer whose body has a largest size and is never empty or cut short."""

    def __init__(self, *args: Any, max_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_bytes = max_bytes

    def read(self, amt: int | None = None) -> bytes:
        if amt is not None:
            return super().read(amt)
        known = self.length is not None
        too_large = self.length is not None and self.length > self._max_bytes
        body = b"" if too_large else super().read(None if known else self._max_bytes + 1)
        if too_large or len(body) > self._max_bytes:
            raise ValueError(f"{Failure.TOO_LARGE}: more than {self._max_bytes} bytes")
        if not body and self.status == http.client.OK:
            raise ValueError(f"{Failure.EMPTY_BODY}: an answer without a body")
        return body


class _Http(urllib.request.HTTPHandler):
    def __init__(self, policy: FetchPolicy) -> None:
        super().__init__()
        self._connect = partial(_Connection, policy=policy, tls=None)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, policy: FetchPolicy) -> None:
        super().__init__()
        tls = ssl.create_default_context()
        tls.sslsocket_class = _BoundedTls
        self._connect = partial(_Connection, policy=policy, tls=tls)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)  # type: ignore[arg-type]


class _Connection(http.client.HTTPConnection):
    def __init__(
        self, host: str, *, policy: FetchPolicy, tls: ssl.SSLContext | None, timeout: float
    ) -> None:
        self.default_port = http.client.HTTP_PORT if tls is None else http.client.HTTPS_PORT
        super().__init__(host, timeout=policy.timeout_s)
        self.response_class = partial(_BoundedResponse, max_bytes=policy.max_bytes)  # type: ignore[assignment]
        self._policy = policy
        self._tls = tls

    def connect(self) -> None:
        deadline_s = time.monotonic() + self._policy.timeout_s
        target = find_target(self.host, self._policy.resolve) or (self.host, self.port)
        plain = socket.create_connection(target, self._policy.timeout_s)
        if self._tls is None:
            bounded = _BoundedSocket(plain.family, plain.type, plain.proto, plain.detach())
        else:
            bounded = self._tls.wrap_socket(plain, server_hostname=self.host)
        bounded.settimeout(self._policy.timeout_s)
        bounded.deadline_s = deadline_s  # type: ignore[union-attr]
        self.sock = bounded
