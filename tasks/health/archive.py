"""The check of the archive's owner: whether this database may write to the archive that it reads."""

from ledger.counts import counted
from ledger.installation import Installation
from sql.connection import Connection
from sql.installation import count_kept, read_installation
from tasks.health.context import Context
from tasks.health.result import Measure

_STORE_TIMEOUT_S = 3.0
_LOOKS = 3


def archive_owner(context: Context) -> Measure:
    """The marker in the archive names this database. Value: 0, or 1 when nothing can be written to the archive."""
    from storage.store import ObjectStore  # noqa: PLC0415  # slow to import
    from tasks.archiving.ownership import MAY_WRITE, look  # noqa: PLC0415

    store = ObjectStore(context.settings.model_copy(update={"store_timeout_s": _STORE_TIMEOUT_S}))
    with context.connect() as connection:
        for _ in range(_LOOKS):
            standing = look(connection, context.settings, store)
            if standing.state in MAY_WRITE or _is_still(connection, standing.installation):
                break  # else a run moved the token on between the two reads
        kept = count_kept(connection)
    more = f"; {counted(kept, 'object was', 'objects were')} kept that another database may need" if kept else ""
    return Measure(f"{standing.why}{more}", int(standing.state not in MAY_WRITE))


def _is_still(connection: Connection, seen: Installation | None) -> bool:
    return read_installation(connection) == seen
