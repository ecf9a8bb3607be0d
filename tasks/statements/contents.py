"""Comparison of two statements of a day: their lines are compared, whatever their order and line numbers."""

import pyarrow as pa
import pyarrow.parquet as pq

from config import Settings
from storage.spool import spool_folder
from storage.store import ObjectStore

_PLACE = "line_no"  # where a line is, not what it says
_COUNT = "times"


def says_the_same(settings: Settings, object_key: str, table: pa.Table) -> bool:
    """Return whether the statement in the archive under ``object_key`` has exactly the lines of ``table``, each as
    often.

    Raises DataError when the object is gone, TransientError when the archive does not answer.
    """
    with spool_folder(settings.spool, "statement") as folder:
        path = folder / "current.parquet"
        ObjectStore(settings).fetch(object_key, path)
        return has_same_lines(pq.read_table(path), table)


def has_same_lines(table: pa.Table, other: pa.Table) -> bool:
    """Return whether both tables of the canonical schema have the same lines, each as often."""
    if table.num_rows != other.num_rows or not table.schema.equals(other.schema):
        return False
    return bool(_counted(table).equals(_counted(other)))


def _counted(table: pa.Table) -> pa.Table:
    """Each different line and how often it occurs, in one order."""
    names = [name for name in table.schema.names if name != _PLACE]
    with_ones = table.select(names).append_column(_COUNT, pa.repeat(1, table.num_rows))
    counted = with_ones.group_by(names).aggregate([(_COUNT, "sum")])
    return counted.select([*names, f"{_COUNT}_sum"]).sort_by([(name, "ascending") for name in names]).combine_chunks()
