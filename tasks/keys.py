"""API keys: making, listing, revoking, and the hash that stands for one in the database.

A key is ``trk_<key_id>_<secret>``. The key id is public and shown in lists and logs. The secret is shown once, when
the key is made; stored is its HMAC-SHA256 under a pepper that is not in the database.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from config import Settings
from ledger.errors import ConfigError
from servers.keys import key as kept_key
from sql.connection import connect
from sql.queries import load

PREFIX = "trk"
_PEPPER_DIGITS = 64
_QUERIES = load("api_keys")
_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Scope(StrEnum):
    """What a key may do. ``READ_ALL`` widens reading to the rows of every client; it grants nothing by itself."""

    TRANSACTIONS_READ = "transactions:read"
    TRANSACTIONS_WRITE = "transactions:write"
    VAS_READ = "vas:read"
    VAS_WRITE = "vas:write"
    READ_ALL = "read:all"
    MONITORING_READ = "monitoring:read"
    OPERATIONS = "operations"


# What an application's key has unless told otherwise.
CLIENT_SCOPES = (Scope.TRANSACTIONS_READ, Scope.TRANSACTIONS_WRITE, Scope.VAS_READ, Scope.VAS_WRITE)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as lists show it: everything but the secret. Times are UTC."""

    key_id: str
    client_id: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def pepper(settings: Settings) -> bytes:
    """The secret that keys are hashed with: TREASURY_API_KEY_PEPPER, else ``<home>/keys/api-key-pepper`` (0600).

    Every process that makes or checks keys must have the same one; another pepper makes all keys invalid.
    """
    if settings.api_key_pepper is not None:
        return settings.api_key_pepper.get_secret_value().encode()
    return kept_key(settings.home, "api-key-pepper", _PEPPER_DIGITS).encode()


def hash_secret(pepper: bytes, secret: str) -> bytes:
    """The 32 bytes that stand for ``secret`` in the database."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def create_key(settings: Settings, client_id: str, scopes: Iterable[str], expires_at: datetime | None = None) -> str:
    """Make a key for ``client_id`` and return it; it cannot be shown again.

    ``expires_at`` is timezone-aware; None never expires. Each call makes a further key. Raises ConfigError naming a
    wrong argument.
    """
    granted = sorted({_scope(name) for name in scopes})
    if not granted:
        raise ConfigError(f"scopes: at least one of {', '.join(Scope)}")
    if not _CLIENT_ID.match(client_id):
        raise ConfigError("client_id: 1 to 64 letters, digits, dots, underscores and hyphens, not a mark at the start")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= datetime.now(UTC)):
        raise ConfigError("expires_at: must have an offset and lie in the future")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    record = {
        "key_id": key_id,
        "key_hash": hash_secret(pepper(settings), secret),
        "client_id": client_id,
        "scopes": granted,
        "expires_at": expires_at,
    }
    with connect(settings.database_dsn, "keys") as connection:
        connection.execute(_QUERIES["insert"], record)
    return f"{PREFIX}_{key_id}_{secret}"


def revoke_key(settings: Settings, key_id: str) -> bool:
    """Make a key useless within seconds; returns False when it is unknown or was revoked before. Safe to rerun."""
    with connect(settings.database_dsn, "keys") as connection:
        return connection.execute(_QUERIES["revoke"], {"key_id": key_id}).rowcount == 1


def list_keys(settings: Settings) -> list[KeyRecord]:
    """Every key that was ever made, oldest first."""
    with connect(settings.database_dsn, "keys") as connection:
        rows = connection.execute(_QUERIES["list"]).fetchall()
    return [KeyRecord(key_id, client_id, tuple(scopes), *times) for key_id, client_id, scopes, *times in rows]


def _scope(name: str) -> str:
    try:
        return Scope(name).value
    except ValueError:
        raise ConfigError(f"scopes: {name!r} is not one of {', '.join(Scope)}") from None
