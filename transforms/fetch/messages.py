"""Give img2dataset's error messages a class. They are what urllib, ssl and OpenCV say."""

import re

from schemas.pair import Failure, Status
from transforms.fetch.records import Failed

# The first that is found decides.
_PATTERNS: tuple[tuple[re.Pattern[str], Failure], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure)
    for pattern, failure in (
        (r"infinite loop", Failure.REDIRECTS),
        (r"redirection to url", Failure.BAD_URL),
        (r"HTTP Error 404", Failure.NOT_FOUND),
        (r"HTTP Error 410", Failure.GONE),
        (r"HTTP Error (401|403|451)", Failure.FORBIDDEN),
        (r"HTTP Error 429", Failure.TOO_MANY_REQUESTS),
        (r"HTTP Error 3", Failure.REDIRECTS),
        (r"HTTP Error 4", Failure.CLIENT_ERROR),
        (r"HTTP Error 5", Failure.SERVER_ERROR),
        (r"X-Robots-Tag", Failure.OPTED_OUT),
        (r"timed out|timeout", Failure.TIMEOUT),
        (
            r"name resolution|name or service not known|getaddrinfo|nodename nor servname"
            r"|no address associated|\[Errno -\d+\]",
            Failure.DNS,
        ),
        (r"\bssl\b|\btls|certificate|_ssl\.c", Failure.TLS),
        (
            r"unknown url type|no host given|control characters|nonnumeric port|codec can't"
            r"|label (empty|too long)|invalid (ipv6 )?url",
            Failure.BAD_URL,
        ),
        (
            r"refused|reset by peer|unreachable|no route to host|closed connection|aborted"
            r"|broken pipe|\[Errno \d+\]",
            Failure.CONNECT,
        ),
        (r"IncompleteRead|bytes read|BadStatusLine|got more than", Failure.BROKEN_TRANSFER),
        (r"buf\.empty\(\)", Failure.EMPTY_BODY),
        (r"image area too large|CV_IO_MAX_IMAGE_(PIXELS|WIDTH|HEIGHT)", Failure.TOO_MANY_PIXELS),
        (r"Image decoding error|OpenCV", Failure.BROKEN_IMAGE),
    )
)


def failed_as_told(status: str | None, message: str | None) -> Failed:
    """What img2dataset says of an image that it could not get."""
    return Failed(
        failure=classify_message(message),
        detail=message or "img2dataset gives no cause",
        status=status_of(status),
    )


def classify_message(message: str | None) -> Failure:
    """The class of an error message of img2dataset; OTHER where none is known.

    A message that begins with a class of ours and a colon has that class.
    """
    named = (message or "").partition(":")[0]
    if named in set(Failure):
        return Failure(named)
    found = (failure for pattern, failure in _PATTERNS if pattern.search(message or ""))
    return next(found, Failure.OTHER)


def status_of(text: str | None) -> Status:
    """img2dataset's status; anything else counts as not downloaded."""
    return Status(text) if text in set(Status) else Status.NOT_DOWNLOADED
