"""Trust policies by https://c2sp.org/tlog-policy: whose checkpoints count, and which witnesses must cosign them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.errors import VerificationError
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.notes import Note, open_checkpoint, require_types, split_note
from ledger.transparency.verifier_keys import SignatureType, VerifierKey

NONE = "none"
_SPACES = re.compile(r"[ \t]+")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")
_COMMON_WORDS = {"any": 1}
_MOST = 1000  # of each kind: the specification asks for at least 32


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A log whose checkpoints count: its key, and where it is read."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness under the policy's own name for it. ``url`` is its submission prefix."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class WitnessGroup:
    """Members, by name, of which at least ``threshold`` must have witnessed a checkpoint."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """A policy. ``quorum`` is a witness, a group or ``none``."""

    logs: tuple[TrustedLog, ...]
    witnesses: Mapping[str, Witness] = field(default_factory=dict)
    groups: Mapping[str, WitnessGroup] = field(default_factory=dict)
    quorum: str = NONE

    @classmethod
    def parse(cls, content: bytes) -> "LogPolicy":
        """Read a policy file. Raises VerificationError naming the line that is wrong."""
        if any((byte < 0x20 and byte not in b"\t\n") or byte == 0x7F for byte in content):
            raise VerificationError("policy: a control character other than tab and newline")
        reader = _Reader()
        lines = content.decode("utf-8", "surrogateescape").split("\n")  # names are bytes: they come back as they were
        for number, line in enumerate(lines, 1):
            words = [word for word in _SPACES.split(line) if word]
            if words and not words[0].startswith("#"):
                try:
                    reader.take(words)
                except VerificationError as error:
                    raise VerificationError(f"policy, line {number}: {error}") from None
        return reader.policy()

    def check(self, content: bytes) -> tuple[Checkpoint, Note]:
        """The checkpoint in a note, valid under this policy.

        Of each signature type among the policy's keys of the log, one key must have signed. A log of this project signs
        with two kinds, and neither is enough alone (decision 0058). Raises VerificationError for a log that the
        policy does not name or whose keys did not sign. It is raised as well for a signature that does not verify, and
        for a quorum that is missed.
        """
        text, _ = split_note(content)
        origin = Checkpoint.parse(text).origin
        keys = [log.key for log in self.logs if log.key.name == origin]
        if not keys:
            raise VerificationError(f"the policy has no key of the log {origin}")
        checkpoint, note = open_checkpoint(content, [*keys, *self.witness_keys], origin)
        require_types(note, keys)
        self.check_quorum(note)
        return checkpoint, note

    @property
    def witness_keys(self) -> list[VerifierKey]:
        """The keys of all witnesses."""
        return [witness.key for witness in self.witnesses.values()]

    def check_quorum(self, note: Note) -> None:
        """Raise VerificationError unless the witnesses that cosigned the verified note are a quorum."""
        if not self._is_witnessed(self.quorum, note.keys):
            signed = [name for name, witness in self.witnesses.items() if witness.key in note.keys]
            raise VerificationError(
                f"the quorum {self.quorum} is missed: {', '.join(signed) or 'no witness'} cosigned the checkpoint"
            )

    def _is_witnessed(self, name: str, keys: frozenset[VerifierKey]) -> bool:
        if name == NONE:
            return True
        if name in self.witnesses:
            return self.witnesses[name].key in keys
        group = self.groups[name]
        return sum(self._is_witnessed(member, keys) for member in group.members) >= group.threshold


class _Reader:
    """The lines of a policy file, in order: a group and the quorum name only what is above them."""

    def __init__(self) -> None:
        self._logs: list[TrustedLog] = []
        self._witnesses: dict[str, Witness] = {}
        self._groups: dict[str, WitnessGroup] = {}
        self._members: set[str] = set()
        self._quorum: str | None = None

    def take(self, words: list[str]) -> None:
        """Read one line."""
        kinds = {"log": self._log, "witness": self._witness, "group": self._group, "quorum": self._take_quorum}
        if words[0] not in kinds:
            raise VerificationError(f"{words[0]!r} is not log, witness, group or quorum")
        kinds[words[0]](words[1:])
        if max(len(self._logs), len(self._witnesses), len(self._groups)) > _MOST:
            raise VerificationError(f"more than {_MOST} of a kind")

    def policy(self) -> LogPolicy:
        """Return the policy that was read."""
        if self._quorum is None:
            raise VerificationError("policy: the quorum line is missing")
        return LogPolicy(tuple(self._logs), self._witnesses, self._groups, self._quorum)

    def _log(self, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise VerificationError("a log is `log <vkey> [<url>]`")
        log = TrustedLog(VerifierKey.parse(words[0]), words[1] if len(words) > 1 else None)
        if any(log.key.public_key == other.key.public_key for other in self._logs):
            raise VerificationError(f"the log {log.key.name} has the public key of another log line")
        self._logs.append(log)

    def _witness(self, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise VerificationError("a witness is `witness <name> <vkey> [<url>]`")
        name, key = words[0], VerifierKey.parse(words[1])
        self._require_new(name)
        if key.type is SignatureType.ED25519:
            raise VerificationError(f"the key of the witness {name} is not one for cosignatures (0x04 or 0x06)")
        if any(key.public_key == other.key.public_key for other in self._witnesses.values()):
            raise VerificationError(f"the witness {name} has the public key of another witness")
        self._witnesses[name] = Witness(name, key, words[2] if len(words) > 2 else None)

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise VerificationError("a group is `group <name> all|any|<k> <member>...`")
        name, wanted, *members = words
        self._require_new(name)
        for member in members:
            self._require_known(member)
            if member in self._members:
                raise VerificationError(f"{member} is a member twice")
            self._members.add(member)
        self._groups[name] = WitnessGroup(_threshold(wanted, len(members)), tuple(members))

    def _take_quorum(self, words: list[str]) -> None:
        if len(words) != 1 or self._quorum is not None:
            raise VerificationError("there is one quorum line, `quorum <name>`")
        if words[0] != NONE:
            self._require_known(words[0])
        self._quorum = words[0]

    def _require_new(self, name: str) -> None:
        if name == NONE or name in self._witnesses or name in self._groups:
            raise VerificationError(f"the name {name} is taken")

    def _require_known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise VerificationError(f"{name} is not a witness or group of a line above")


def _threshold(wanted: str, members: int) -> int:
    named = {**_COMMON_WORDS, "all": members}
    threshold = named.get(wanted) or (int(wanted) if _COUNT.fullmatch(wanted) else 0)
    if not 1 <= threshold <= members:
        raise VerificationError(f"the threshold {wanted} is not all, any or a number from 1 to {members}")
    return threshold


def format_policy(logs: list[VerifierKey], url: str | None = None) -> bytes:
    """The policy that accepts the log with these keys and asks for no witness: what `treasury log keys` prints."""
    where = f" {url}" if url else ""
    return "".join([*(f"log {key.text}{where}\n" for key in logs), f"quorum {NONE}\n"]).encode()
