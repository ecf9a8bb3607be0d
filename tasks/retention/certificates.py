"""Orders and certificates of deletion: canonical JSON, made from what PostgreSQL recorded.

So a rerun makes the same bytes. The SHA-256 of each is in an event of the public log.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import rfc8785

from config import Settings
from config.version import product_version
from ledger.errors import DataError, VerificationError
from ledger.installation import Owner
from ledger.months import Month
from ledger.retention import DoomedMonth, certificate_number
from ledger.transparency.events import Event
from ledger.transparency.tiles import Tree
from sql.connection import Connection
from sql.deletion_requests import DeletionRequest
from sql.deletions import Deletion, DoomedObject, MonthPart, doomed_objects, event_index
from sql.log import find_archived, read_entries, read_log
from storage.marker import location_of
from storage.store import StoredFile
from tasks.retention.held_rows import KeptPart

ORDER_FORMAT = "treasury-deletion-order-v1"
CERTIFICATE_FORMAT = "treasury-certificate-v1"
_METHOD = "every version deleted by its id; then absent by key and in the list of versions"
_KEY_METHOD = "object deleted by its key, as the store named no version of it; then absent by key"
_FILE_METHOD = "file unlinked; then absent by name"
_ABSENT_METHOD = "nothing was there to delete; absent by key"
# What a certificate does not speak of, so that nobody reads more into it than it says.
NOT_COVERED = (
    "reconciliation records and objects, such as own.parquet with a line for each internal row: no end is set for them",
    "supplier statements: no end is set for them",
    "caches of other machines, which may have parts of the objects until they need the space",
    "notices of alerts that were sent, and log files",
    "copies that other programs made of the objects, or of rows while they were restored",
)
_PATHS_STAY = "hashes of deleted rows, in the proofs of the rows that holds keep"


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a deletion, and by whose word: the content of an object that is stored before anything happens."""

    content: Mapping[str, Any]

    @property
    def number(self) -> int:
        """The number of the deletion."""
        return int(self.content["number"])

    @property
    def certificate(self) -> str:
        """The number that the certificate will have."""
        return str(self.content["certificate"])

    @property
    def objects(self) -> list[DoomedObject]:
        """The objects that are removed."""
        return [
            DoomedObject(
                record["key"],
                record["part"],
                record["kind"],
                record["size_bytes"],
                None if record["sha256"] is None else bytes.fromhex(record["sha256"]),
                [],
            )
            for record in self.content["objects"]
        ]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return rfc8785.dumps(dict(self.content))


@dataclass(frozen=True, slots=True)
class Doomed:
    """The deleted content of a month: the parts, with all their objects, and the rows of them that stay."""

    month: DoomedMonth
    parts: Sequence[MonthPart]
    kept: Sequence[KeptPart]
    objects: Sequence[DoomedObject]


def order_of(
    settings: Settings, owner: Owner, number: int, request: DeletionRequest, what: Doomed, now: datetime
) -> Order:
    """The order of one month of a request, at PostgreSQL's time."""
    doomed = what.month
    rules = settings.retention
    return Order(
        {
            "format": ORDER_FORMAT,
            "number": number,
            "certificate": certificate_number(owner, number),
            "installation": str(owner.installation_id),
            "incarnation": owner.incarnation,
            "controller": rules.controller,
            "archive": location_of(settings.archive_location),
            "table": doomed.table,
            "month": str(doomed.month),
            "parts": [_part(part) for part in what.parts],
            "kept": [_kept(kept_part) for kept_part in what.kept],
            "rule": {
                "as_of": request.as_of.isoformat(),
                "due_on": doomed.due_on.isoformat(),
                "retention_months": doomed.retention_months,
                "legal_minimum_months": rules.legal_minimum_months,
                "legal_source": rules.legal_source,
                "legal_basis": rules.legal_basis,
            },
            "request": _request(request),
            "holds": {"looked_at": now.isoformat(), "on_whole_month": [], "on_rows": list(doomed.keeps)},
            "objects": [_object(doomed_object) for doomed_object in what.objects],
            "ordered_at": now.isoformat(),
            "backup_days": rules.backup_days,
            "program": product_version(),
        }
    )


def _part(part: MonthPart) -> dict[str, Any]:
    return {
        "part": part.part,
        "rows": part.row_count,
        "sums": part.sums,
        "root": bytes(part.digest).hex(),
        "leaves": part.tree["leaves"],
        "manifest_sha256": bytes(part.manifest_sha256).hex(),
    }


def _kept(kept_part: KeptPart) -> dict[str, Any]:
    return {
        "part": kept_part.part,
        "of_part": kept_part.of_part,
        "rows": kept_part.rows,
        "root": kept_part.root,
        "holds": list(kept_part.holds),
    }


def _request(request: DeletionRequest) -> dict[str, Any]:
    return {
        "number": request.request_id,
        "plan_sha256": request.plan_sha256.hex(),
        "requested": {
            "actor": request.actor,
            "account": request.account,
            "reason": request.reason,
            "at": request.requested_at.isoformat(),
        },
        "approved": [decision.to_record() for decision in request.approved_by],
        "approvals": request.approvals,
        "grace_days": request.grace_days,
        "due_at": None if request.due_at is None else request.due_at.isoformat(),
    }


def _object(doomed_object: DoomedObject) -> dict[str, Any]:
    return {
        "key": doomed_object.object_key,
        "part": doomed_object.part,
        "kind": doomed_object.kind,
        "size_bytes": doomed_object.size_bytes,
        "sha256": None if doomed_object.sha256 is None else bytes(doomed_object.sha256).hex(),
    }


def read_order(content: bytes, place: str) -> Order:
    """Read an order. Raises DataError naming ``place`` for bytes that are none."""
    try:
        order = Order(json.loads(bytes(content)))
        is_one = order.content.get("format") == ORDER_FORMAT and order.to_bytes() == bytes(content)
    except (ValueError, AttributeError, TypeError):
        is_one = False
    if not is_one:
        raise DataError(f"{place}: is not an order of the format {ORDER_FORMAT}")
    return order


def certificate_of(connection: Connection, settings: Settings, owner: Owner, deletion: Deletion, order: Order) -> bytes:
    """The certificate of a deletion whose objects are all proved to be absent.

    Raises VerificationError where one of them is not: no certificate says more than was found.
    """
    objects = doomed_objects(connection, deletion.number)
    if open_objects := [doomed_object.object_key for doomed_object in objects if doomed_object.proved_at is None]:
        raise VerificationError(f"{deletion.certificate}: {open_objects[0]} is not proved to be absent")
    removed_at = max(doomed_object.proved_at for doomed_object in objects if doomed_object.proved_at is not None)
    written = dict(order.content)
    backup_days = written.pop("backup_days")
    content = written | {
        "format": CERTIFICATE_FORMAT,
        "order_sha256": StoredFile.of(bytes(deletion.order_content)).sha256.hex(),
        "parts": [_logged_part(connection, owner, order, part) for part in order.content["parts"]],
        "log": _log(connection, owner, deletion),
        "objects": [_removed(settings, doomed_object) for doomed_object in objects],
        "begun_at": deletion.begun_at.isoformat(),
        "removed_at": removed_at.isoformat(),
        "dropped_from": [
            "the catalogue of months (tier deleted, objects removed)",
            "the views over all tiers, and the API",
            "the copies of it in the schema of restored months",
            "the findings of the watch that name its rows, and their alerts",
            "what the import knows of its rows",
            "the indexes of the public log",
        ],
        "remains": "root, number of rows, sums per currency, times, names of the objects, order and this certificate",
        "not_covered": [*NOT_COVERED, *([_PATHS_STAY] if order.content["kept"] else [])],
        "backups_until": (removed_at + timedelta(days=backup_days)).date().isoformat(),
        "program": product_version(),
    }
    return rfc8785.dumps(content)


def _logged_part(connection: Connection, owner: Owner, order: Order, part: Mapping[str, Any]) -> dict[str, Any]:
    """A part with the entry of the log that says how it was archived, and when."""
    named = (str(order.content["table"]), str(order.content["month"]), int(part["part"]))
    indexed_entry = find_archived(connection, owner.installation_id, *named)
    if indexed_entry is None:
        return dict(part) | {"log_entry": None, "archived_at": None}
    index, entry = indexed_entry
    return dict(part) | {"log_entry": index, "archived_at": Event.from_bytes(entry).happened_at.isoformat()}


def _log(connection: Connection, owner: Owner, deletion: Deletion) -> dict[str, Any]:
    """The log just behind the entry that says that the deletion began: at that size the open holds are those that the
    certificate names. A hold that came later has an entry behind it.
    """
    row = read_log(connection, owner.installation_id)
    index = event_index(connection, owner, deletion.event_incarnation, deletion.event_number)
    if row is None or index is None or index >= row.published_size:
        raise DataError(f"{deletion.certificate}: the log does not have the event deletion_begun yet")
    size = index + 1
    root = Tree(read_entries(connection, owner.installation_id)[:size]).root(size)
    return {"origin": row.origin, "size": size, "root": root.hex(), "begun_entry": index}


def _removed(settings: Settings, doomed_object: DoomedObject) -> dict[str, Any]:
    """An object that was removed. The catalogue has no size of a manifest: that is the size of the version found."""
    size = next((version["size_bytes"] for version in doomed_object.versions if not version["is_marker"]), None)
    return _object(doomed_object) | {
        "size_bytes": size if doomed_object.size_bytes is None else doomed_object.size_bytes,
        "versions": doomed_object.versions,
        "method": _method(settings, doomed_object),
        "result": "absent",
        "removed_at": None if doomed_object.removed_at is None else doomed_object.removed_at.isoformat(),
        "proved_at": None if doomed_object.proved_at is None else doomed_object.proved_at.isoformat(),
    }


def _method(settings: Settings, doomed_object: DoomedObject) -> str:
    """How the object was removed: a store without versions was never asked for one of them by its id."""
    if not doomed_object.versions:
        return _ABSENT_METHOD
    if settings.archive_location.startswith("file://"):
        return _FILE_METHOD
    return _METHOD if any(version["version"] for version in doomed_object.versions) else _KEY_METHOD


def month_of(certificate: Mapping[str, Any]) -> Month:
    """The month that a certificate is about."""
    return Month.parse(certificate["month"])
