"""The keys that sign the log: from files that only their owner reads, from the environment, or behind a command."""

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from config import Settings
from config.generated_keys import folder as keys_folder
from config.generated_keys import write_private
from config.log import KeySource
from ledger.errors import ConfigError, TransientError
from ledger.transparency.notes import Signer
from ledger.transparency.verifier_keys import SignatureType, VerifierKey

PrivateKey = Ed25519PrivateKey | MLDSA44PrivateKey
TYPES = (
    SignatureType.ED25519,
    SignatureType.COSIGNATURE_MLDSA44,
)  # of a log's own signatures, in the order of its notes
_KINDS: dict[SignatureType, type[Ed25519PrivateKey] | type[MLDSA44PrivateKey]] = {
    SignatureType.ED25519: Ed25519PrivateKey,
    SignatureType.COSIGNATURE_ED25519: Ed25519PrivateKey,
    SignatureType.COSIGNATURE_MLDSA44: MLDSA44PrivateKey,
}
_FILE = re.compile(r"log-(ed25519|mldsa44)-([1-9][0-9]{0,5})\.pem")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_COMMAND_TIMEOUT_S = 30
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A private key in memory."""

    key: VerifierKey
    private: PrivateKey

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``."""
        return self.private.sign(message)


@dataclass(frozen=True, slots=True)
class CommandSigner:
    """A command in front of a key that nobody reads."""

    key: VerifierKey
    command: str

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``. Raises ConfigError or TransientError with what the command said."""
        name = f"TREASURY_LOG_KEYS: the command for {self.key.type.algorithm}"
        try:
            done = subprocess.run(  # noqa: S603  # the operator's own command, without a shell
                shlex.split(self.command), input=message, capture_output=True, timeout=_COMMAND_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise TransientError(f"{name} gave no signature within {_COMMAND_TIMEOUT_S} s") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{name} cannot be run: {error}") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[-_SHOWN:]
            raise TransientError(f"{name} ended with {done.returncode}: {said}")
        return done.stdout


def load_signers(settings: Settings, origin: str) -> list[Signer]:
    """Everything that can sign the log ``origin`` now: of each algorithm the newest last.

    Raises ConfigError naming a key that is malformed, and a file that others than its owner may read.
    """
    return [signer for kind in TYPES for signer in _signers(settings, origin, kind)]


def newest(signers: Sequence[Signer]) -> list[Signer]:
    """The last of each algorithm. Raises ConfigError where one of the two has none."""
    by_type = {signer.key.type: signer for signer in signers}
    if missing := [kind.algorithm for kind in TYPES if kind not in by_type]:
        raise ConfigError(f"TREASURY_LOG_KEYS: there is no {' and no '.join(missing)} key")
    return [by_type[kind] for kind in TYPES]


def choose(signers: Sequence[Signer], wanted: Iterable[str]) -> list[Signer]:
    """Those that sign with the verifier keys ``wanted``, in their order.

    Raises ConfigError naming a key that is not there.
    """
    by_text = {signer.key.text: signer for signer in signers}
    texts = list(wanted)
    for text in texts:
        if text not in by_text:
            key = VerifierKey.parse(text)
            raise ConfigError(
                f"TREASURY_LOG_KEYS: the {key.type.algorithm} key {key.key_id.hex()}, which signs the log {key.name}, "
                "is not there: restore it, or run `treasury log rotate-key` if it is lost or was replaced"
            )
    return [by_text[text] for text in texts]


def make_keys(settings: Settings, kinds: Iterable[SignatureType] = TYPES) -> None:
    """Make the next key file of each algorithm of ``kinds`` that the folder is the source of. Safe to race."""
    for kind in kinds:
        if _reads_files(_source(settings, kind)):
            folder = _folder(settings)
            number = max((number for number, _ in _files(folder, kind)), default=0) + 1
            make_file(folder / f"log-{kind.algorithm}-{number}.pem", kind)


def next_signers(settings: Settings, origin: str, current: Iterable[str]) -> list[Signer]:
    """Return what the log is to be signed with after a rotation: of each algorithm the newest, made where it is in use.

    Raises ConfigError where the settings name the keys that are in use, so that nothing would change.
    """
    used = set(current)
    latest = {signer.key.type: signer.key.text for signer in load_signers(settings, origin)}
    make_keys(settings, [kind for kind in TYPES if kind not in latest or latest[kind] in used])
    signers = newest(load_signers(settings, origin))
    if all(signer.key.text in used for signer in signers):
        raise ConfigError("TREASURY_LOG_KEYS names the keys that sign the log already: set the new ones, then rotate")
    return signers


def verifier_of(private: PrivateKey, name: str, kind: SignatureType) -> VerifierKey:
    """The public half of a key, under ``name``."""
    return VerifierKey(name, kind, private.public_key().public_bytes_raw())


def read_private(text: str, kind: SignatureType, what: str) -> PrivateKey:
    """A private key from PEM. Raises ConfigError naming ``what``."""
    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{what}: is not a private key in PEM (PKCS #8, without a password)") from None
    if not isinstance(key, _KINDS[kind]):
        raise ConfigError(f"{what}: is not an {kind.algorithm} key")
    return key


def read_private_file(path: Path, kind: SignatureType) -> PrivateKey:
    """A private key from a file that nobody but its owner may read. Raises ConfigError naming the file."""
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if mode & _OTHERS:
        raise ConfigError(
            f"{path}: others than its owner may use this key (mode {stat.S_IMODE(mode):04o}): set mode 0600; if others "
            "can have read it, run `treasury log rotate-key`"
        )
    return read_private(text, kind, str(path))


def _signers(settings: Settings, origin: str, kind: SignatureType) -> list[Signer]:
    source = _source(settings, kind)
    name = f"TREASURY_LOG_KEYS__{kind.algorithm.upper()}"
    if source.pem is not None:
        private = read_private(source.pem.get_secret_value(), kind, f"{name}__PEM")
        return [KeySigner(verifier_of(private, origin, kind), private)]
    if source.command is not None:
        return [CommandSigner(_public(source.public_key or "", origin, kind, f"{name}__PUBLIC_KEY"), source.command)]
    privates = [read_private_file(path, kind) for _, path in _files(_folder(settings), kind)]
    return [KeySigner(verifier_of(private, origin, kind), private) for private in privates]


def _public(text: str, origin: str, kind: SignatureType, what: str) -> VerifierKey:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{what}: is not a public key in PEM") from None
    wanted = MLDSA44PublicKey if kind is SignatureType.COSIGNATURE_MLDSA44 else Ed25519PublicKey
    if not isinstance(key, wanted):
        raise ConfigError(f"{what}: is not an {kind.algorithm} key")
    return VerifierKey(origin, kind, key.public_bytes_raw())


def _source(settings: Settings, kind: SignatureType) -> KeySource:
    keys = settings.log_keys
    return keys.mldsa44 if kind is SignatureType.COSIGNATURE_MLDSA44 else keys.ed25519


def _reads_files(source: KeySource) -> bool:
    return source.pem is None and source.command is None


def _folder(settings: Settings) -> Path:
    configured = settings.log_keys.folder
    if configured is None:
        return keys_folder(settings.home)
    if not configured.is_dir():
        raise ConfigError(f"TREASURY_LOG_KEYS__FOLDER: {configured} is not a folder")
    return configured


def _files(folder: Path, kind: SignatureType) -> list[tuple[int, Path]]:
    """The key files of an algorithm, by number."""
    matches = ((_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[2]), path) for match, path in matches if match and match[1] == kind.algorithm)


def make_file(path: Path, kind: SignatureType) -> None:
    """Make a key in a file of mode 0600, whole or not at all; one that is there already stays."""
    private = _KINDS[kind].generate()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(draft, pem.decode())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
