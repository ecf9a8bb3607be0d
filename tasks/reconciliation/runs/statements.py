"""The statement of a day as the engine reads it: one Parquet file in the canonical schema, checked first of all."""

from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from config import Settings
from ledger.errors import DataError, TransientError
from ledger.statements import ComparedStatus, LineKind
from sql.connection import connect
from sql.queries import load
from storage.engine import literal
from storage.store import ObjectStore
from suppliers.statement import STATEMENT_SCHEMA

_QUERIES = load("statements_check", __package__)
_STATEMENTS = load("statements")
_SHOWN = 3


def statement_of(settings: Settings, supplier: str, day: date) -> str:
    """The archive key of the statement that was taken in for a supplier's day, the newest version of it.

    Raises DataError when none was: a late statement, or one in quarantine.
    """
    with connect(settings.database_dsn, "reconciliation") as connection:
        there = connection.execute(_STATEMENTS["has_statement_files"]).fetchone()
        if there is not None and there[0]:
            row = connection.execute(_STATEMENTS["statement_of"], {"supplier": supplier, "day": day}).fetchone()
            if row is not None:
                return str(row[0])
    raise DataError(
        f"{supplier} {day}: no statement has been taken in for this day; `treasury statements take-in {supplier}` "
        f"looks for its file, and `treasury statements none {supplier} {day}` declares that there is none"
    )


def fetch_statement(settings: Settings, location: str, folder: Path) -> Path:
    """The statement at ``location`` as a local file: a path as it is, else the archive's object of that key, fetched.

    Raises DataError when there is none.
    """
    path = Path(location)
    if path.is_file():
        return path
    if path.is_absolute():
        raise DataError(f"statement {location}: there is no such file")
    target = folder / "statement.parquet"
    ObjectStore(settings).fetch(location, target)
    return target


def open_statement(engine: duckdb.DuckDBPyConnection, path: Path, supplier: str, day: date) -> None:
    """Make the file the engine's view ``statement``.

    Raises DataError naming file, line and field when a column, a word, the supplier or the day is not as it must be.
    The settlement date of every line is checked, not only that of the first.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"statement {path.name}: is not a Parquet file: {error}") from error
    for field in STATEMENT_SCHEMA:
        if field.name not in schema.names or schema.field(field.name).type != field.type:
            raise DataError(f"statement {path.name}: {field.name} must be a column of type {field.type}")
    engine.execute(f"CREATE VIEW statement AS SELECT * FROM read_parquet({literal(str(path))})")
    engine.execute(f"SET VARIABLE kinds = [{', '.join(literal(str(kind)) for kind in LineKind)}]")
    engine.execute(f"SET VARIABLE statuses = [{', '.join(literal(str(status)) for status in ComparedStatus)}]")
    try:
        wrong = engine.execute(_wrong_lines(), {"supplier": supplier, "day": day}).fetchall()
    except duckdb.IOException as error:
        raise TransientError(f"statement {path.name}: cannot be read now: {error}") from error
    except duckdb.Error as error:
        raise DataError(f"statement {path.name}: {error}") from error
    if wrong:
        named = "; ".join(
            f"line {'?' if line is None else line}: {field}: {rule}" for line, field, rule in wrong[:_SHOWN]
        )
        raise DataError(f"statement {path.name}: {named}")


def _wrong_lines() -> str:
    """The query for lines that break a rule: every field that the schema says is never empty is looked at."""
    needed = [field.name for field in STATEMENT_SCHEMA if not field.nullable]
    return _QUERIES["wrong_lines"].format(
        empty=", ".join(f"CASE WHEN {name} IS NULL THEN '{name}' END" for name in needed),
        any_empty=" OR ".join(f"{name} IS NULL" for name in needed),
    )
