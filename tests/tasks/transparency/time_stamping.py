"""A time-stamping authority of the tests' own: RFC 3161 over HTTP, its answers encoded here byte by byte (DER)."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rfc3161_client._rust import parse_timestamp_request

_SHA256 = "2.16.840.1.101.3.4.2.1"
_ECDSA_SHA256 = "1.2.840.10045.4.3.2"
_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_POLICY = "1.3.6.1.4.1.99999.1"


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, *parts)


def _set(*parts: bytes) -> bytes:
    return _der(0x31, *sorted(parts))


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _octets(content: bytes) -> bytes:
    return _der(0x04, content)


def _oid(dotted: str) -> bytes:
    first, second, *others = map(int, dotted.split("."))
    content = bytearray([first * 40 + second])
    for value in others:
        groups = [value & 0x7F]
        while value := value >> 7:
            groups.append(value & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return _der(0x06, bytes(content))


def _algorithm(dotted: str) -> bytes:
    return _sequence(_oid(dotted))


@dataclass
class Authority:
    """The authority: its certificate, and how it lies. ``off`` is added to its time."""

    off: timedelta = timedelta()
    changes_nonce: bool = False
    changes_imprint: bool = False
    refuses: bool = False
    url: str = ""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    root_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.root = self._certificate("root", self.root_key, is_root=True)
        self.certificate = self._certificate("stamps", self.key, is_root=False)

    @property
    def pem(self) -> bytes:
        """The root certificate, as an auditor has it."""
        return self.root.public_bytes(Encoding.PEM)

    def _certificate(self, name: str, key: ec.EllipticCurvePrivateKey, *, is_root: bool) -> x509.Certificate:
        subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, "root"))
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=4000))
            .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        )
        if not is_root:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self.root_key, hashes.SHA256())

    def answer(self, question: bytes) -> bytes:
        """The TimeStampResp for a TimeStampReq."""
        if self.refuses:
            return _sequence(_sequence(_integer(2)))
        request = parse_timestamp_request(question)
        assert request.nonce is not None
        info = self._info(request.message_imprint.message, request.nonce)
        return _sequence(_sequence(_integer(0)), _sequence(_oid(_SIGNED_DATA), _der(0xA0, self._signed(info))))

    def _info(self, imprint: bytes, nonce: int) -> bytes:
        at = (datetime.now(UTC) + self.off).strftime("%Y%m%d%H%M%SZ").encode()
        stamped = bytes(32) if self.changes_imprint else imprint
        return _sequence(
            _integer(1),
            _oid(_POLICY),
            _sequence(_algorithm(_SHA256), _octets(stamped)),
            _integer(7),
            _der(0x18, at),
            _integer(nonce + 1 if self.changes_nonce else nonce),
        )

    def _signed(self, info: bytes) -> bytes:
        encoded = self.certificate.public_bytes(Encoding.DER)
        reference = _sequence(_sequence(_sequence(_octets(hashlib.sha256(encoded).digest()))))
        attributes = [
            _sequence(_oid("1.2.840.113549.1.9.3"), _set(_oid(_TST_INFO))),
            _sequence(_oid("1.2.840.113549.1.9.4"), _set(_octets(hashlib.sha256(info).digest()))),
            _sequence(_oid("1.2.840.113549.1.9.16.2.47"), _set(reference)),
        ]
        signature = self.key.sign(_set(*attributes), ec.ECDSA(hashes.SHA256()))
        signer = _sequence(
            _integer(1),
            _sequence(self.certificate.issuer.public_bytes(), _integer(self.certificate.serial_number)),
            _algorithm(_SHA256),
            _der(0xA0, *sorted(attributes)),
            _algorithm(_ECDSA_SHA256),
            _octets(signature),
        )
        return _sequence(
            _integer(3),
            _set(_algorithm(_SHA256)),
            _sequence(_oid(_TST_INFO), _der(0xA0, _octets(info))),
            _der(0xA0, encoded),
            _set(signer),
        )


@contextmanager
def stamping(authority: Authority) -> Iterator[Authority]:
    """The authority at its ``url``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["content-length"]))
            answer = authority.answer(question)
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing: pytest shows what fails."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        authority.url = f"http://127.0.0.1:{server.server_port}"
        yield authority
        server.shutdown()
        thread.join()
