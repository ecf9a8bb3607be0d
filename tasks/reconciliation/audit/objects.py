"""Statements and reports in the archive, proved against the SHA-256 that the tables, and so the audit chain, hold."""

from config import Settings
from ledger.errors import DataError, VerificationError
from sql.connection import Connection
from sql.queries import load
from storage.spool import spool_folder
from storage.store import ObjectStore

_QUERIES = load("reconciliation_audit")
_SHOWN = 5


def verify_objects(settings: Settings, connection: Connection) -> int:
    """Read every statement and every report afresh and compare; returns how many. Reading only.

    Raises VerificationError that names the first that are changed or gone, TransientError when the archive is away.
    """
    recorded = connection.execute(_QUERIES["run_objects"]).fetchall()
    store = ObjectStore(settings)
    problems = []
    with spool_folder(settings.spool, "verify") as folder:
        for key, sha256 in recorded:
            try:
                if store.fetch(key, folder / "object").sha256.hex() != sha256:
                    problems.append(f"{key} was changed")
            except DataError:
                problems.append(f"{key} is gone")
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise VerificationError(f"archive: {'; '.join(problems[:_SHOWN])}{more}")
    return len(recorded)
