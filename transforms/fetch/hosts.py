"""Which host a URL names, and where its connections go. No network here."""

import ipaddress
import re
from collections.abc import Mapping

import yarl

# Every character that RFC 3986 lets a URL hold; a % is part of an escape.
_WELL_FORMED = re.compile(r"(?:[!#$&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]|%[0-9A-Fa-f]{2})+")

_HOST = re.compile(r"[A-Za-z0-9._~:%-]+")


def parse_url(text: str) -> yarl.URL | None:
    """An http(s) URL with a host, or None. Never raises, whatever the text.

    A well-formed URL is kept to the letter (signed ones break otherwise); any other is escaped
    as a browser would, its host by IDNA.
    """
    text = text.strip()
    try:
        url = yarl.URL(text, encoded=_WELL_FORMED.fullmatch(text) is not None)
        str(url).encode("ascii")  # what goes on the wire
        asked = url.scheme in ("http", "https") and _HOST.fullmatch(url.raw_host or "")
        return url if asked and url.port else None
    except (ValueError, TypeError):
        return None


def parse_target(text: str) -> tuple[str, int]:
    """Address and port of "address:port"; an IPv6 address stands in brackets.

    Raises: ValueError: no such thing."""
    address, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} is not address:port")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if (":" in bare) != (bare != address):
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, as [::1]:8080")
    try:
        return str(ipaddress.ip_address(bare)), int(port)
    except ValueError as err:
        raise ValueError(f"{text!r} does not start with an IP address") from err


def find_target(host: str, resolve: Mapping[str, str]) -> tuple[str, int] | None:
    """Where connections to `host` go instead of where DNS says, or None.

    The host's own entry wins, then the longest wildcard: "*.demo.test" stands for every
    subdomain of demo.test, and not for demo.test itself.
    """
    name = host.lower().rstrip(".")
    labels = name.split(".")
    wildcards = (".".join(["*", *labels[at:]]) for at in range(1, len(labels)))
    found = next((resolve[key] for key in (name, *wildcards) if key in resolve), None)
    return None if found is None else parse_target(found)
