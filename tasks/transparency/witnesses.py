"""The witnesses that the log asks to cosign its checkpoint, and the result. None of them can stop the log."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from config import Settings
from ledger.errors import ConfigError, TransientError, TreasuryError, VerificationError
from ledger.merkle_proofs import consistency_path
from ledger.transparency import base64
from ledger.transparency.checkpoints import parse_size
from ledger.transparency.notes import Signature, join_note, open_note, split_note
from ledger.transparency.policies import LogPolicy, Witness
from ledger.transparency.tiles import Tree
from tasks.deadline import run_each

_ATTEMPTS = 3
_MOST_BYTES = 64 << 10
_OK = 200
_CONFLICT = 409
_UNPROCESSABLE = 422


class WitnessedForkError(VerificationError):
    """A witness has cosigned a larger log, or another one."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The result of the witnesses: the note with their cosignatures, a line for people, and what is missing.

    ``forks`` are the witnesses' words where one of them remembers another history.
    """

    note: bytes
    line: str = ""
    shortfall: str = ""
    forks: tuple[str, ...] = ()


def read_policy(settings: Settings, origin: str) -> LogPolicy | None:
    """The policy of the settings; None without one. Raises ConfigError naming the file and what is wrong in it."""
    if settings.log_policy is None:
        return None
    try:
        policy = LogPolicy.parse(settings.log_policy.read_bytes())
    except (OSError, VerificationError) as error:
        raise ConfigError(f"TREASURY_LOG_POLICY: {settings.log_policy}: {error}") from None
    if policy.logs and not any(log.key.name == origin for log in policy.logs):
        raise ConfigError(
            f"TREASURY_LOG_POLICY: {settings.log_policy} names other logs, but no key of this one, {origin}: add what "
            "`treasury log keys` prints, or take the log lines out"
        )
    return policy


def gather(settings: Settings, policy: LogPolicy | None, note: bytes, tree: Tree, last_size: int) -> Witnessed:
    """Ask every witness of the policy that has not cosigned ``note`` yet, all at the same time.

    ``last_size`` is the size that they were last asked about. Raises nothing of this project's own errors.
    """
    if policy is None or not policy.witnesses:
        return Witnessed(note)
    text, signatures = split_note(note)
    asked = [witness for witness in policy.witnesses.values() if witness.url and not _has_signed(witness, signatures)]
    work = {
        f"witness {witness.name}": (lambda witness=witness: _ask(settings, witness, note, tree, last_size))
        for witness in asked
    }
    problems, forks = [], []
    for name, (outcome, _) in run_each(work, _ATTEMPTS * settings.witness_timeout_s).items():
        if isinstance(outcome, Signature):
            signatures.append(outcome)
        else:
            problems.append(f"{name}: {_said(outcome)}")
            if isinstance(outcome, WitnessedForkError):
                forks.append(problems[-1])
    return _judge(policy, join_note(text, signatures), problems, tuple(forks))


def _judge(policy: LogPolicy, note: bytes, problems: Sequence[str], forks: tuple[str, ...]) -> Witnessed:
    signed = [witness.name for witness in policy.witnesses.values() if _has_signed(witness, split_note(note)[1])]
    line = f"{len(signed)} of {len(policy.witnesses)} witnesses cosigned"
    shortfall = ""
    try:
        policy.check_quorum(open_note(note, policy.witness_keys))
    except VerificationError:
        if policy.quorum != "none":
            shortfall = "; ".join([f"the quorum {policy.quorum} of witnesses is missed", *problems])
    return Witnessed(note, line, shortfall, forks)


def _has_signed(witness: Witness, signatures: Sequence[Signature]) -> bool:
    return any(signature.is_of(witness.key) for signature in signatures)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, TreasuryError) else type(error).__name__


def _ask(settings: Settings, witness: Witness, note: bytes, tree: Tree, last_size: int) -> Signature:
    """The cosignature of one witness. Raises TransientError, or VerificationError for what it must not answer."""
    old_size = last_size
    with httpx.Client(timeout=settings.witness_timeout_s) as client:
        for _ in range(_ATTEMPTS):
            answer = _post(client, witness, _request(note, tree, old_size))
            if answer.status_code == _OK:
                return _cosignature(witness, note, answer.content)
            if answer.status_code == _UNPROCESSABLE:
                raise WitnessedForkError(f"remembers another history of {old_size} entries: {_text(answer)}")
            if answer.status_code != _CONFLICT:
                raise TransientError(f"answered {answer.status_code}: {_text(answer)}")
            known = parse_size(answer.text.removesuffix("\n"), "the size that it knows")
            if known > tree.size:
                raise WitnessedForkError(f"has cosigned {known} entries, and this log has {tree.size}")
            old_size = known
    raise TransientError(f"answered {_CONFLICT} {_ATTEMPTS} times")


def _post(client: httpx.Client, witness: Witness, body: bytes) -> httpx.Response:
    try:
        return client.post(f"{(witness.url or '').rstrip('/')}/add-checkpoint", content=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransientError(f"does not answer: {type(error).__name__}") from None


def _request(note: bytes, tree: Tree, old_size: int) -> bytes:
    hashes = consistency_path(old_size, tree.size, tree.root_of)
    return "\n".join([f"old {old_size}", *map(base64.encode, hashes), "", ""]).encode() + note


def _cosignature(witness: Witness, note: bytes, lines: bytes) -> Signature:
    """The witness's signature among ``lines``, verified: what else is there is ignored."""
    text, _ = split_note(note)
    if len(lines) > _MOST_BYTES:
        raise VerificationError("answered more than signatures")
    signed = open_note(f"{text}\n".encode() + lines, [witness.key])
    if not witness.key.time_s(signed.signed_by[0][1].signature):
        raise VerificationError("cosigned without a time")
    return signed.signed_by[0][1]


def _text(answer: httpx.Response) -> str:
    return answer.text[:200].replace("\n", " ").strip()
