import pytest

from schemas.pair import Failure, Status
from transforms.fetch.messages import classify_message, status_of

# As img2dataset's stats files hold them.
SEEN = {
    "HTTP Error 404: Not Found": Failure.NOT_FOUND,
    "HTTP Error 410: Gone": Failure.GONE,
    "HTTP Error 403: Forbidden": Failure.FORBIDDEN,
    "HTTP Error 429: Too Many Requests": Failure.TOO_MANY_REQUESTS,
    "HTTP Error 400: Bad Request": Failure.CLIENT_ERROR,
    "HTTP Error 503: Service Unavailable": Failure.SERVER_ERROR,
    "HTTP Error 308: Permanent Redirect": Failure.REDIRECTS,
    "HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite"
    " loop.\nThe last 30x error message was:\nFound": Failure.REDIRECTS,
    "HTTP Error 302: Found - Redirection to url 'file:///x' is not allowed": Failure.BAD_URL,
    "<urlopen error [Errno -2] Name or service not known>": Failure.DNS,
    "<urlopen error [Errno -3] Temporary failure in name resolution>": Failure.DNS,
    "<urlopen error [Errno -5] No address associated with hostname>": Failure.DNS,
    "<urlopen error [Errno 8] nodename nor servname provided, or not known>": Failure.DNS,
    "<urlopen error [Errno 111] Connection refused>": Failure.CONNECT,
    "[Errno 104] Connection reset by peer": Failure.CONNECT,
    "<urlopen error [Errno 113] No route to host>": Failure.CONNECT,
    "Remote end closed connection without response": Failure.CONNECT,
    "<urlopen error timed out>": Failure.TIMEOUT,
    "The read operation timed out": Failure.TIMEOUT,
    "<urlopen error _ssl.c:980: The handshake operation timed out>": Failure.TIMEOUT,
    "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has"
    " expired (_ssl.c:1006)>": Failure.TLS,
    "<urlopen error [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)>": Failure.TLS,
    "IncompleteRead(5 bytes read, 95 more expected)": Failure.BROKEN_TRANSFER,
    "unknown url type: 'x.jpg'": Failure.BAD_URL,
    "<urlopen error no host given>": Failure.BAD_URL,
    "URL can't contain control characters. '/a b' (found at least ' ')": Failure.BAD_URL,
    "'ascii' codec can't encode character '\\xe4' in position 5": Failure.BAD_URL,
    "nonnumeric port: 'x'": Failure.BAD_URL,
    "Use of image disallowed by X-Robots-Tag directive": Failure.OPTED_OUT,
    "Image decoding error": Failure.BROKEN_IMAGE,
    "OpenCV(4.11.0) loadsave.cpp:1026: error: (-215:Assertion failed) !buf.empty() in function"
    " 'imdecode_'\n": Failure.EMPTY_BODY,
    "image area too large": Failure.TOO_MANY_PIXELS,
    "image too small": Failure.OTHER,
    "hash mismatch": Failure.OTHER,
    "too_large: more than 7 bytes": Failure.TOO_LARGE,
    "": Failure.OTHER,
    None: Failure.OTHER,
}


@pytest.mark.parametrize(("message", "failure"), SEEN.items())
def test_messages_of_img2dataset_have_their_class(message, failure):
    assert classify_message(message) == failure


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("success", Status.SUCCESS),
        ("failed_to_resize", Status.NOT_RESIZED),
        ("failed_to_download", Status.NOT_DOWNLOADED),
        ("nonsense", Status.NOT_DOWNLOADED),
        (None, Status.NOT_DOWNLOADED),
    ],
)
def test_an_unknown_status_is_no_download(text, status):
    assert status_of(text) == status
