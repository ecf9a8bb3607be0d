"""Certificates looked up and checked: against the archive, the public log, and what the bucket really has."""

import json
from typing import Any

from config import Settings
from ledger.counts import counted
from ledger.errors import ConflictError, VerificationError
from ledger.transparency.events import Deleted, Event
from sql.connection import connect
from sql.deletions import Deletion, find_certificate
from sql.installation import read_installation
from sql.log import read_entries
from storage.store import ObjectStore, StoredFile
from storage.versions import VersionedStore
from tasks.retention.certificates import CERTIFICATE_FORMAT
from tasks.retention.pages import certificate_page


def find(settings: Settings, number: str) -> tuple[bytes, bytes]:
    """A certificate and its page, as the archive has them.

    Raises NotFoundError for an unknown number, ConflictError for a deletion that is under way, VerificationError where
    the archive has other bytes than PostgreSQL.
    """
    with connect(settings.database_dsn, "certificates") as connection:
        deletion = find_certificate(connection, number)
    return _stored(settings, deletion)


def _stored(settings: Settings, deletion: Deletion) -> tuple[bytes, bytes]:
    known = deletion.certificate_content
    if deletion.state != "done" or known is None or deletion.certificate_key is None:
        raise ConflictError(
            f"{deletion.certificate}: the deletion of {deletion} is under way: it has no certificate yet"
        )
    content = ObjectStore(settings).read_bytes(deletion.certificate_key)
    if content != bytes(known):
        raise VerificationError(f"{deletion.certificate_key}: is not the certificate that was written")
    return content, certificate_page(content)


def verify_certificate(settings: Settings, number: str) -> list[str]:
    """Check a certificate; returns a sentence for each thing that holds. Raises as `find`, and VerificationError where
    the log has another certificate, or an object is there again.
    """
    with connect(settings.database_dsn, "certificates") as connection:
        deletion = find_certificate(connection, number)
        content, _ = _stored(settings, deletion)
        installation = read_installation(connection)
        entries = [] if installation is None else read_entries(connection, installation.installation_id)
    said: dict[str, Any] = json.loads(content)
    if said["format"] != CERTIFICATE_FORMAT:
        raise VerificationError(f"{deletion.certificate_key}: is not of the format {CERTIFICATE_FORMAT}")
    index = _entry(entries, deletion, content)
    store = VersionedStore(settings)
    for removed in said["objects"]:
        if store.versions(removed["key"]):
            raise VerificationError(f"{number}: {removed['key']} is in the archive again: somebody put it back")
    rows = sum(part["rows"] for part in said["parts"]) - sum(part["rows"] for part in said["kept"])
    root = said["parts"][0]["root"]
    return [
        f"{number}: {counted(rows, 'row')} of {said['table']} {said['month']} deleted, root {root[:16]}…",
        f"the archive has the certificate, and entry {index} of the log {said['log']['origin']} has its SHA-256",
        f"none of its {len(said['objects'])} objects is in the archive",
    ]


def _entry(entries: list[bytes], deletion: Deletion, content: bytes) -> int:
    """The place of the event that has the certificate's SHA-256."""
    wanted = StoredFile.of(content).sha256.hex()
    for index, entry in enumerate(entries):
        body = Event.read_own(entry).body
        if isinstance(body, Deleted) and body.certificate == deletion.certificate:
            if body.record is None or body.record.sha256 != wanted:
                raise VerificationError(f"{deletion.certificate}: entry {index} of the log has another SHA-256")
            return index
    raise VerificationError(
        f"{deletion.certificate}: its event is not in the log yet: run `treasury log publish`, then verify it again"
    )
