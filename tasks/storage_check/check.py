"""The check of the object store: every try, one after the other, and the canaries removed before and after."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, timedelta

from config import Settings
from ledger.errors import ConfigError, TreasuryError
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.queries import load
from sql.session_lock import try_session_lock
from storage.marker import location_of
from storage.object_locks import ObjectLocks
from tasks.storage_check.canaries import Canaries, sweep
from tasks.storage_check.findings import Finding, PromiseState, StorageReport
from tasks.storage_check.probes import COMMON, OF_BUCKETS, Tried, store_offset_s

_QUERIES = load("storage_check")
OnProbe = Callable[[str], object]
Probe = Callable[[Tried], Finding | Iterator[Finding]]


def check_storage(settings: Settings, on_probe: OnProbe = lambda _: None) -> StorageReport:
    """Try what the object store does; returns a finding for each promise. Changes nothing but canaries of its own.

    Safe to run again and beside a running archive; what a run that was killed left is removed first. Raises
    ConflictError while another check runs, and the store's errors where not even a canary can be written.
    """
    lock = (_QUERIES["lock"], _QUERIES["unlock"], "another storage check is running: one tries the store at a time")
    with connect(settings.database_dsn, "storage check") as connection, try_session_lock(connection, *lock):
        removed, _ = sweep(settings)
        findings = _findings(connection, settings, on_probe)
        _, left = sweep(settings)
    return StorageReport(location_of(settings.archive_location), tuple(findings), left, removed)


def _findings(connection: Connection, settings: Settings, on_probe: OnProbe) -> list[Finding]:
    canaries = Canaries(settings)
    canaries.put("first")  # where this fails, nothing can be tried
    is_bucket = not canaries.store.is_folder
    if is_bucket:
        canaries.clock_offset = timedelta(seconds=store_offset_s(canaries) or 0.0)
    findings = [] if not is_bucket else list(_lock_finding(settings))
    has_locks = is_bucket and not findings and ObjectLocks(settings).are_offered()
    tried = Tried(canaries, settings, has_locks, lambda: read_now(connection).astimezone(UTC))
    for promise, probe in COMMON + (OF_BUCKETS if is_bucket else ()):
        on_probe(promise)
        findings += _tried(promise, probe, tried)
    return findings + ([] if is_bucket else _of_folder(settings))


def _lock_finding(settings: Settings) -> Iterator[Finding]:
    """That the login may not ask for Object Lock, where it may not."""
    try:
        ObjectLocks(settings).are_offered()
    except ConfigError as error:
        follows = "objects cannot be locked, and nobody knows whether the bucket locks them"
        is_relied_on = settings.write_once != "off"
        yield Finding("Object Lock can be asked for", PromiseState.BROKEN, str(error), follows, relied_on=is_relied_on)


def _tried(promise: str, probe: Probe, tried: Tried) -> Sequence[Finding]:
    """The findings of a probe. One that the store cuts short is a finding, too: it stops no other."""
    findings: list[Finding] = []
    try:
        made = probe(tried)
        if isinstance(made, Finding):
            return [made]
        for finding in made:
            findings.append(finding)  # noqa: PERF402  # those before an error count
    except (TreasuryError, OSError) as error:
        follows = "the try did not end: see why, and run the check again"
        findings.append(
            Finding(promise, PromiseState.BROKEN, f"{type(error).__name__}: {error}", follows, relied_on=True)
        )
    return findings


def _of_folder(settings: Settings) -> list[Finding]:
    """What a folder cannot promise."""
    follows = "anybody who may write to the folder can change and delete objects: verification finds it afterwards"
    is_required = settings.write_once in ("governance", "compliance")
    names = (
        ("a replaced or deleted object keeps its former version", False),
        ("a locked version cannot be deleted", is_required),
        ("a version under a legal hold cannot be deleted", is_required),
    )
    return [
        Finding(name, PromiseState.ABSENT, "a folder has none of it", follows, required) for name, required in names
    ]
