"""Signed notes by https://c2sp.org/signed-note@v1.0.0: a text, an empty line, and one line for each signature.

A signature of an unknown key is ignored. One of a known key that does not verify refuses the whole note.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.errors import VerificationError
from ledger.transparency import base64
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.verifier_keys import KEY_ID_BYTES, VerifierKey, check_name

_DASH = "\u2014 "
_MOST_BYTES = 1 << 20
_MOST_SIGNATURES = 100


class Signer(Protocol):
    """Whatever can sign: a key in memory, or a command in front of a hardware module."""

    @property
    def key(self) -> VerifierKey:
        """The public half, under the name that it signs with."""

    def sign(self, message: bytes) -> bytes:
        """The signature of the algorithm itself over ``message``."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: a name, four bytes of key id, and the signature."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line, with its newline."""
        return f"{_DASH}{self.name} {base64.encode(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> "Signature":
        """Read a line without its newline. Raises VerificationError for one that is malformed."""
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise VerificationError("a signature line of the note is malformed")
        check_name(name)
        content = base64.decode(encoded, f"the signature of {name}")
        if len(content) <= KEY_ID_BYTES:
            raise VerificationError(f"the signature of {name} is too short")
        return cls(name, content[:KEY_ID_BYTES], content[KEY_ID_BYTES:])

    def is_of(self, key: VerifierKey) -> bool:
        """Return whether name and key id are those of ``key``."""
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True, slots=True)
class Note:
    """A note whose signatures were verified: the text, and which of the known keys signed it."""

    text: str
    signed_by: tuple[tuple[VerifierKey, Signature], ...]

    @property
    def keys(self) -> frozenset[VerifierKey]:
        """The known keys that signed it."""
        return frozenset(key for key, _ in self.signed_by)


def split_note(content: bytes) -> tuple[str, list[Signature]]:
    """The text and the signatures of a note, none of them verified. Raises VerificationError for what is not a note."""
    if len(content) > _MOST_BYTES:
        raise VerificationError(f"the note has more than {_MOST_BYTES} bytes")
    try:
        whole = content.decode()
    except UnicodeDecodeError:
        raise VerificationError("the note is not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise VerificationError("the note has a control character")
    text, separator, signatures = whole.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise VerificationError("the note has no signatures after an empty line")
    lines = signatures[:-1].split("\n")
    if len(lines) > _MOST_SIGNATURES:
        raise VerificationError(f"the note has more than {_MOST_SIGNATURES} signatures")
    return f"{text}\n", [Signature.parse(line) for line in lines]


def open_note(content: bytes, keys: Iterable[VerifierKey]) -> Note:
    """The note, verified by those of ``keys`` that signed it.

    Raises VerificationError for a malformed note, and for one that no key of ``keys`` signed. So does a signature of a
    key of ``keys`` that does not verify.
    """
    known = list(keys)
    text, signatures = split_note(content)
    verified: dict[VerifierKey, Signature] = {}
    for signature in signatures:
        for key in known:
            if signature.is_of(key):
                key.verify(text, signature.signature)
                verified.setdefault(key, signature)
    if not verified:
        names = ", ".join(sorted({signature.name for signature in signatures}))
        raise VerificationError(f"the note is signed by no known key (signatures of {names})")
    return Note(text, tuple(verified.items()))


def open_checkpoint(content: bytes, keys: Iterable[VerifierKey], origin: str) -> tuple[Checkpoint, Note]:
    """The checkpoint of the log ``origin``, verified as `open_note` does; ``keys`` may hold witnesses' keys, too.

    Raises VerificationError also for another log's checkpoint and for one that no key named ``origin`` signed.
    """
    note = open_note(content, keys)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != origin:
        raise VerificationError(f"the checkpoint is of the log {checkpoint.origin}, not of {origin}")
    if not any(key.name == origin for key in note.keys):
        raise VerificationError(f"the checkpoint is not signed by a known key of the log {origin}")
    return checkpoint, note


def require_keys(note: Note, keys: Iterable[VerifierKey]) -> None:
    """Raise VerificationError unless every key of ``keys`` signed the note: its two signatures, not any one."""
    missing = [f"{key.name} ({key.type.algorithm})" for key in keys if key not in note.keys]
    if missing:
        raise VerificationError(f"the note lacks the signature of {', '.join(missing)}")


def require_types(note: Note, keys: Iterable[VerifierKey]) -> None:
    """Raise VerificationError unless, of each signature type among the ``keys`` of a log, one key signed the note.

    With any one of them, whoever has broken or stolen one kind of key could sign alone. All of them would not outlive a
    rotation, after which a policy has the former keys too.
    """
    known = list(keys)
    missing = {key.type: key.name for key in known}
    for key in note.keys & frozenset(known):
        missing.pop(key.type, None)
    if missing:
        named = ", ".join(f"{name} ({kind.algorithm})" for kind, name in missing.items())
        raise VerificationError(f"the note lacks the signature of {named}: each kind of key that is known must sign")


def sign_note(text: str, signers: Sequence[Signer], time_s: int) -> bytes:
    """The note of ``text`` with a signature of each signer; ``time_s``, since 1970, is that of cosignatures.

    Every signature is verified before it is given out. Raises VerificationError naming the key of one that is wrong.
    """
    signatures = []
    for signer in signers:
        raw = signer.sign(signer.key.message(text, time_s))
        signature = signer.key.with_time(raw, time_s)
        signer.key.verify(text, signature)
        signatures.append(Signature(signer.key.name, signer.key.key_id, signature))
    return join_note(text, signatures)


def join_note(text: str, signatures: Iterable[Signature]) -> bytes:
    """The bytes of a note with these signatures, as they are."""
    if not text.endswith("\n"):
        raise ValueError("the text of a note ends with a newline")
    return f"{text}\n{''.join(signature.line for signature in signatures)}".encode()
