"""Verifier keys of signed notes: their text, their ids, and what a signature of each type is made over.

Types by https://c2sp.org/signed-note@v1.0.0 and https://c2sp.org/tlog-cosignature@v1.0.1: 0x01 Ed25519 over the text,
0x04 a timestamped Ed25519 cosignature, 0x06 a timestamped ML-DSA-44 cosignature. The last two sign checkpoints only.
"""

import hashlib
import re
import struct
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from ledger.errors import VerificationError
from ledger.transparency import base64
from ledger.transparency.checkpoints import LARGEST_SIZE, Checkpoint

KEY_ID_BYTES = 4
_TIME = struct.Struct(">Q")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_SHORT_TEXT_BYTES = 255


class SignatureType(IntEnum):
    """The signature types of this project."""

    ED25519 = 0x01
    COSIGNATURE_ED25519 = 0x04
    COSIGNATURE_MLDSA44 = 0x06

    @property
    def has_time(self) -> bool:
        """Whether a signature begins with the seconds since 1970 at which it was made."""
        return self is not SignatureType.ED25519

    @property
    def algorithm(self) -> str:
        """``ed25519`` or ``mldsa44``."""
        return "mldsa44" if self is SignatureType.COSIGNATURE_MLDSA44 else "ed25519"

    @property
    def public_key_bytes(self) -> int:
        """The size of a public key."""
        return 1312 if self is SignatureType.COSIGNATURE_MLDSA44 else 32


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name. Name, id and type together say which signatures it verifies."""

    name: str
    type: SignatureType
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != self.type.public_key_bytes:
            raise VerificationError(f"key {self.name}: not a {self.type.algorithm} key of {len(self.public_key)} bytes")

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name, newline, type, public key)."""
        content = self.name.encode() + b"\n" + bytes([self.type]) + self.public_key
        return hashlib.sha256(content).digest()[:KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """The vkey: ``<name>+<key id>+<type and public key>``."""
        return f"{self.name}+{self.key_id.hex()}+{base64.encode(bytes([self.type]) + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a vkey. Raises VerificationError for one that is malformed or of another type."""
        name, _, rest = text.partition("+")
        key_id, plus, encoded = rest.partition("+")
        content = base64.decode(encoded, f"the verifier key of {name or 'nobody'}")
        if not plus or not _KEY_ID.fullmatch(key_id) or not content:
            raise VerificationError(f"verifier key {text[:80]!r} is not of the form name+key id+key")
        if content[0] not in list(SignatureType):
            raise VerificationError(f"verifier key {name}: signature type 0x{content[0]:02x} is not supported")
        key = cls(name, SignatureType(content[0]), content[1:])
        if key.key_id.hex() != key_id:
            raise VerificationError(f"verifier key {name}: its id is {key.key_id.hex()}, not {key_id}")
        return key

    def message(self, text: str, time_s: int = 0) -> bytes:
        """Return what is signed for the note ``text``; ``time_s``, seconds since 1970, is part of cosignatures.

        Raises VerificationError where a cosignature is wanted for a text that is not a checkpoint.
        """
        if self.type is SignatureType.ED25519:
            return text.encode()
        checkpoint = Checkpoint.parse(text)
        if self.type is SignatureType.COSIGNATURE_ED25519:
            return f"cosignature/v1\ntime {time_s}\n{text}".encode()
        return b"".join(
            (
                b"subtree/v1\n\0",
                _short(self.name, "the name of the key"),
                _TIME.pack(time_s),
                _short(checkpoint.origin, "the origin of the checkpoint"),
                _TIME.pack(0),
                _TIME.pack(checkpoint.size),
                checkpoint.root,
            )
        )

    def time_s(self, signature: bytes) -> int:
        """The seconds since 1970 in a signature; 0 where its type has none. Raises VerificationError."""
        if not self.type.has_time:
            return 0
        if len(signature) < _TIME.size:
            raise VerificationError(f"the cosignature of {self.name} is too short")
        (time_s,) = _TIME.unpack(signature[: _TIME.size])
        if time_s > LARGEST_SIZE:
            raise VerificationError(f"the cosignature of {self.name} has a time after 2**63 - 1")
        return int(time_s)

    def with_time(self, signature: bytes, time_s: int) -> bytes:
        """The bytes of a note's signature: those of the algorithm, behind the time where the type has one."""
        return _TIME.pack(time_s) + signature if self.type.has_time else signature

    def verify(self, text: str, signature: bytes) -> None:
        """Raise VerificationError unless ``signature`` is this key's over ``text``."""
        message = self.message(text, self.time_s(signature))
        raw = signature[_TIME.size :] if self.type.has_time else signature
        try:
            self.verify_raw(raw, message)
        except (InvalidSignature, ValueError):
            raise VerificationError(f"the {self.type.algorithm} signature of {self.name} is not valid") from None

    def verify_raw(self, signature: bytes, message: bytes) -> None:
        """The algorithm's own verification. Raises InvalidSignature, or ValueError for a malformed public key."""
        if self.type is SignatureType.COSIGNATURE_MLDSA44:
            MLDSA44PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        else:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)


def check_name(name: str) -> None:
    """Raise VerificationError for a key's name that is empty or has a space, a plus or a control character."""
    is_text = name.isascii() or name == name.encode("utf-8", "replace").decode()
    if not name or not is_text or any(character.isspace() or character == "+" or character < " " for character in name):
        raise VerificationError(f"{name!r} is not a name of a key: it must not be empty or have spaces or plus signs")


def _short(text: str, what: str) -> bytes:
    content = text.encode()
    if not 0 < len(content) <= _SHORT_TEXT_BYTES:
        raise VerificationError(f"{what} must be 1 to {_SHORT_TEXT_BYTES} bytes for an ML-DSA-44 cosignature")
    return bytes([len(content)]) + content
