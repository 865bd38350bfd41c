"""A `resolve` map sends connections elsewhere; the certificate must still name the URL's host."""

import asyncio
import contextlib
import datetime
import http.server
import ssl
import threading

import pytest

from schemas.pair import Failure
from transforms.fetch.bounded_opener import make_opener
from transforms.fetch.download import download_all
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.records import Download

NAMED = "named.demo.test"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A PEM file with a key and a certificate for NAMED alone, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAMED)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAMED)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(private + built.public_bytes(pem))
    return path


class _Here(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that refuses the certificate breaks the handshake off."""


@pytest.fixture
def address(certificate):
    """Where a server with that certificate listens."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with _Server(("127.0.0.1", 0), _Here) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def trusted(certificate, monkeypatch):
    """The certificate's signer counts as known."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)


def fetch(url, address):
    got = []

    async def take(_, result):
        got.append(result)

    policy = FetchPolicy(timeout_s=5, retries=0, resolve={"*.demo.test": address})
    asyncio.run(download_all([url], policy, take))
    return got[0]


def test_a_certificate_for_the_urls_host_is_accepted(trusted, address):
    assert fetch(f"https://{NAMED}/x", address) == Download(body=b"here")


def test_a_certificate_for_another_host_is_not(trusted, address):
    result = fetch("https://other.demo.test/x", address)
    assert result.failure == Failure.TLS
    assert "Hostname mismatch" in result.detail


def test_an_unknown_signer_is_not(address):
    result = fetch(f"https://{NAMED}/x", address)
    assert result.failure == Failure.TLS
    assert "self-signed" in result.detail


@pytest.mark.parametrize(("host", "accepted"), [(NAMED, True), ("other.demo.test", False)])
def test_img2datasets_opener_checks_the_same(trusted, address, host, accepted):
    policy = FetchPolicy(timeout_s=5, resolve={"*.demo.test": address})
    outcome = contextlib.nullcontext() if accepted else pytest.raises(OSError, match="mismatch")
    with outcome, make_opener(policy).open(f"https://{host}/x", timeout=5) as response:
        assert response.read() == b"here"
