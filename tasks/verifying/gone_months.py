"""Months whose deletion has begun or ended, by the log: a deleted one is gone, and its certificate is there."""

from collections.abc import Iterable, Mapping

from ledger.errors import DeepTierError
from ledger.transparency.events import LoggedObject
from ledger.transparency.replay import Gone, MonthKey
from storage.store import ObjectStore, StoredFile
from storage.unreadable import MOVED
from tasks.verifying.findings import VerificationReport
from tasks.verifying.verified_log import ExpectedMonth, keys_of


def gone_keys(gone: Mapping[MonthKey, Gone]) -> set[str]:
    """The keys of all objects that the parts had."""
    return {key for deletion in gone.values() for key in _keys(deletion)}


def _keys(deletion: Gone) -> tuple[str, ...]:
    """The keys of a part, and of those that went back to warm before it."""
    parts = (*(() if deletion.archived is None else (deletion.archived,)), *deletion.former)
    return tuple(key for part in parts for key in keys_of(part.archived))


def gone_months(gone: Mapping[MonthKey, Gone]) -> list[ExpectedMonth]:
    """The parts as they were archived: what a scope may name although nothing of it must exist."""
    archived = [deletion.archived.archived for deletion in gone.values() if deletion.archived is not None]
    return [
        ExpectedMonth(part.table, part.month, part.part, part.rows, part.manifest, part.objects) for part in archived
    ]


def certificate_keys(gone: Mapping[MonthKey, Gone]) -> list[str]:
    """The keys of the certificates and of their pages, each once."""
    records = {deletion.deleted[1].record for deletion in gone.values() if deletion.deleted is not None}
    keys = sorted(record.key for record in records if record is not None)
    return [key for record_key in keys for key in (record_key, f"{record_key.removesuffix('.json')}.html")]


def check_gone(listed: Mapping[str, int], gone: Mapping[MonthKey, Gone], report: VerificationReport) -> None:
    """Find the objects of deleted parts that are in the archive again; note what is deleted or being deleted."""
    certificates: dict[tuple[str, str, str], None] = {}
    for (table, month, _), deletion in sorted(gone.items()):
        keys = _keys(deletion)
        if deletion.deleted is None:
            named = deletion.begun[1].certificate if deletion.begun else ""
            report.notes.append(f"{table} {month} is being deleted under {named}: `treasury delete run` completes it")
            continue
        number = deletion.deleted[1].certificate or "an entry of the log"
        certificates[table, month, number] = None
        for key in keys:
            if key in listed:
                report.add(key, f"was deleted with certificate {number} and is there again: somebody put it back")
    report.counts["deleted months"] += len({key[:2] for key in certificates})
    report.notes += [f"{table} {month} was deleted with certificate {number}" for table, month, number in certificates]


def check_records(store: ObjectStore, records: Iterable[tuple[int, LoggedObject]], report: VerificationReport) -> None:
    """Read the objects that say who held, released and deleted what, and compare them with the log."""
    for index, record in records:
        try:
            content = store.find_bytes(record.key)
        except DeepTierError:
            report.add(record.key, MOVED)
            continue
        if content is None:
            report.add(record.key, f"is missing: entry {index} of the log names it")
        elif StoredFile.of(content).sha256.hex() != record.sha256:
            report.add(record.key, f"its SHA-256 is not the one in entry {index} of the log")
        report.counts["records of holds and deletions"] += content is not None
