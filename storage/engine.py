"""DuckDB, the set-based engine: how a connection is made, what it may use, and how names are quoted for it."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from config import Settings
from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError
from storage.spool import spool_folder

_TYPES = {
    ColumnKind.UUID: "UUID",
    ColumnKind.TEXT: "VARCHAR",
    ColumnKind.JSON: "VARCHAR",
    ColumnKind.BOOLEAN: "BOOLEAN",
    ColumnKind.INTEGER: "BIGINT",
    ColumnKind.TIMESTAMP: "TIMESTAMPTZ",
    ColumnKind.DATE: "DATE",
}

_NOTHING_FETCHED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def identifier(name: str) -> str:
    """``name`` quoted as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """``text`` quoted as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(column: Column) -> str:
    """DuckDB's type for a column; exact for every kind."""
    if column.kind is ColumnKind.DECIMAL:
        return f"DECIMAL({column.precision},{column.scale})"
    return _TYPES[column.kind]


def _extension_file(name: str) -> str:
    """The file of an extension inside the pip package that brings it: loaded from there, nothing is fetched."""
    package = resources.files(f"duckdb_extension_{name}")
    return str(package / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension")


@cache
def _verified(file: str) -> str:
    """``file``, once DuckDB has found its signature good. Raises duckdb.Error when it does not.

    DuckDB works the signature out at each LOAD, 0.08 to 0.15 s of a core: here it does once a process.
    """
    with closing(duckdb.connect(config=_NOTHING_FETCHED)) as strict:
        strict.execute(f"LOAD {literal(file)}")
    return file


def load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension from its pip package. Called only where it is needed: the first time it takes long."""
    connection.execute(f"LOAD {literal(_verified(_extension_file(name)))}")


@contextmanager
def engine(settings: Settings, share: int = 1) -> Iterator[duckdb.DuckDBPyConnection]:
    """A private in-memory DuckDB in UTC, bounded in memory, that spills to the spool folder and fetches no extensions.

    It can read the archive: the object store's address and credentials are set as a secret. ``share`` is the number
    of engines that divide the memory between them.
    """
    with spool_folder(settings.spool, "duckdb") as spills, _connected(settings, spills, share) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET arrow_lossless_conversion = true")
        connection.execute("SET enable_progress_bar = false")
        # Read again means read again: the cache of file contents has been seen to give stale bytes for a path that was
        # written again. Code that reads only immutable objects may turn it on.
        connection.execute("SET enable_external_file_cache = false")
        _set_store(connection, settings)
        yield connection


def _connected(settings: Settings, spills: Path, share: int) -> closing[duckdb.DuckDBPyConnection]:
    """The connection. ``spills`` is for it alone: two engines that spill to one folder end in a segmentation fault.

    It may load what is not signed because `load_extension` alone loads anything, from files that were verified.
    """
    return closing(
        duckdb.connect(
            config={
                "threads": settings.archive_threads,
                "memory_limit": f"{settings.archive_memory_mb // share}MB",
                "temp_directory": str(spills),
                "allow_unsigned_extensions": True,
                **_NOTHING_FETCHED,
            }
        )
    )


def _set_store(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Give the engine the object store's address and credentials, which then appear in no query and in no error."""
    if settings.archive_url is None or not settings.archive_url.startswith("s3://"):
        return
    load_extension(connection, "httpfs")
    parts = {"TYPE": "s3", "REGION": literal(settings.s3_region)}
    if settings.s3_access_key_id is not None and settings.s3_secret_access_key is not None:
        parts["KEY_ID"] = literal(settings.s3_access_key_id)
        parts["SECRET"] = literal(settings.s3_secret_access_key.get_secret_value())
    if settings.s3_endpoint_url is not None:
        address = urlsplit(settings.s3_endpoint_url)
        if address.scheme not in {"http", "https"}:
            raise ConfigError("TREASURY_S3_ENDPOINT_URL: must start with http:// or https://")
        parts |= {
            "ENDPOINT": literal(address.netloc),
            "URL_STYLE": "'path'",
            "USE_SSL": "true" if address.scheme == "https" else "false",
        }
    connection.execute(f"CREATE SECRET archive ({', '.join(f'{name} {value}' for name, value in parts.items())})")


def url_of(settings: Settings, key: str) -> str:
    """Where DuckDB finds the object ``key``: an s3:// URL or a path."""
    root = settings.archive_location
    return f"{root}/{key}" if root.startswith("s3://") else str(Path(urlsplit(root).path) / key)


def archived(settings: Settings, key: str, names: Sequence[tuple[str, str]] | None = None) -> str:
    """A FROM item of the rows in the object ``key``; ``names`` are those of the columns in it and the wanted ones."""
    return renamed(f"read_parquet({literal(url_of(settings, key))}, hive_partitioning = false)", names)


def renamed(source: str, names: Sequence[tuple[str, str]] | None) -> str:
    """``source`` with the columns of ``names`` alone, each under its second name; None leaves it as it is."""
    if names is None:
        return source
    return f"(SELECT {', '.join(f'{identifier(old)} AS {identifier(new)}' for old, new in names)} FROM {source})"
