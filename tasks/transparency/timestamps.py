"""Timestamps by RFC 3161: a third party's word for when a checkpoint existed, verified now and offline later.

What is stamped is the text of the checkpoint, its three lines with the last newline: origin, size and root. Signatures
are not part of it, so that cosignatures may be added, and the proof holds when an algorithm does not any more.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client import VerificationError as TimestampError

from config import Settings
from ledger.errors import ConfigError, TransientError, VerificationError

_MOST_BYTES = 256 << 10


def read_certificates(path: Path | None) -> list[Certificate]:
    """The certificates of the authority. Raises ConfigError naming the file."""
    if path is None:
        raise ConfigError("TREASURY_TSA_CERTIFICATES must name the authority's certificates")
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"TREASURY_TSA_CERTIFICATES: {path}: {error}") from None


def request_timestamp(settings: Settings, text: str, now: datetime) -> bytes:
    """A timestamp over ``text`` by the authority of the settings: the answer's bytes, verified.

    Raises TransientError when the authority does not answer. Raises VerificationError for an answer about other bytes,
    with another nonce, by another authority, or with a time that is not ``now`` within the tolerance.
    """
    certificates = read_certificates(settings.tsa_certificates)
    question = TimestampRequestBuilder().data(text.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
    content = _post(settings, question.as_bytes())
    answer = _decode(content)
    verifier = _with_certificates(VerifierBuilder.from_request(question), certificates)
    stamped = _verified(verifier, answer, text)
    off_s = abs((stamped - now).total_seconds())
    if off_s > settings.tsa_tolerance_s:
        raise VerificationError(
            f"the time-stamping authority says {stamped:%Y-%m-%d %H:%M:%S} UTC, {off_s:.0f} s from this machine's "
            f"clock; at most {settings.tsa_tolerance_s:g} s are accepted (TREASURY_TSA_TOLERANCE_S)"
        )
    return content


def verify_timestamp(content: bytes, text: str, certificates: Sequence[Certificate]) -> datetime:
    """The instant (UTC) at which the authority of ``certificates`` saw ``text``. Offline.

    Self-signed certificates are roots, the others intermediate ones. Raises VerificationError.
    """
    return _verified(_with_certificates(VerifierBuilder(), certificates), _decode(content), text)


def require_imprint(content: bytes, text: str) -> None:
    """Raise VerificationError unless a timestamp is over ``text``. Says nothing about who made it: that needs the
    authority's certificates.
    """
    imprint = _decode(content).tst_info.message_imprint
    if imprint.message != hashlib.sha256(text.encode()).digest():
        raise VerificationError("the timestamp is over another text than this checkpoint")


def _with_certificates(builder: VerifierBuilder, certificates: Sequence[Certificate]) -> VerifierBuilder:
    for certificate in dict.fromkeys(certificates):
        is_root = certificate.issuer == certificate.subject
        add = builder.add_root_certificate if is_root else builder.add_intermediate_certificate
        builder = add(certificate)
    return builder


def _verified(builder: VerifierBuilder, answer: TimeStampResponse, text: str) -> datetime:
    try:
        builder.build().verify_message(answer, text.encode())
    except (TimestampError, ValueError) as error:
        raise VerificationError(f"the timestamp is not valid: {error}") from None
    return answer.tst_info.gen_time.replace(tzinfo=answer.tst_info.gen_time.tzinfo or UTC).astimezone(UTC)


def _decode(content: bytes) -> TimeStampResponse:
    try:
        return decode_timestamp_response(content)
    except ValueError as error:
        raise VerificationError(f"the answer of the time-stamping authority is not a timestamp: {error}") from None


def _post(settings: Settings, question: bytes) -> bytes:
    headers = {"content-type": "application/timestamp-query", "accept": "application/timestamp-reply"}
    try:
        answer = httpx.post(settings.tsa_url or "", content=question, headers=headers, timeout=settings.tsa_timeout_s)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransientError(f"TREASURY_TSA_URL does not answer: {type(error).__name__}") from None
    if answer.status_code != httpx.codes.OK or len(answer.content) > _MOST_BYTES:
        raise TransientError(f"TREASURY_TSA_URL answered {answer.status_code} with {len(answer.content)} bytes")
    return answer.content
