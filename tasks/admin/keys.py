"""API keys: making, rotating, revoking, listing, and the hash that stands for one in the database.

A key is ``trk_<key_id>_<secret>``. The key id is public and shown in lists and logs. The secret is shown once, when
the key is made; stored is its HMAC-SHA256 under a pepper that is not in the database. What is done to a key is recorded
in the same transaction, with who did it.
"""

import hashlib
import hmac
import os
import pwd
import re
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from config import Settings
from config.generated_keys import key as generated_key
from config.limits import is_rate
from ledger.card_finder import Search, holds_card_number
from ledger.errors import ConfigError, NotFoundError
from ledger.scopes import Scope
from sql.connection import Connection, connect
from sql.queries import load
from sql.storing import check_stored

PREFIX = "trk"
LONGEST_GRACE = timedelta(days=90)
# The rate limits that count by key, so that a key can have its own; the others count addresses.
LIMITED = ("general", "transactions", "vas", "operations")
_PEPPER_DIGITS = 64
_QUERIES = load("api_keys")
_KEY_ID = re.compile(r"[0-9a-f]{12}\Z")
_WHOLE_KEY = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})(?:_\S*)?\Z", re.IGNORECASE)
_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as lists show it: everything but the secret. Times are UTC."""

    key_id: str
    client_id: str
    scopes: tuple[str, ...]
    limits: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """An event of a key: what was done, by whom (account and machine), and when (UTC)."""

    key_id: str
    event: str
    actor: str
    detail: Mapping[str, Any]
    happened_at: datetime


def pepper(settings: Settings) -> bytes:
    """The secret that keys are hashed with: TREASURY_API_KEY_PEPPER, else ``<home>/keys/api-key-pepper`` (0600).

    Every process that makes or checks keys must have the same one; another pepper makes all keys invalid.
    """
    if settings.api_key_pepper is not None:
        return settings.api_key_pepper.get_secret_value().encode()
    return generated_key(settings.home, "api-key-pepper", _PEPPER_DIGITS).encode()


def hash_secret(pepper: bytes, secret: str) -> bytes:
    """The 32 bytes that stand for ``secret`` in the database."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def create_key(
    settings: Settings,
    client_id: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
    limits: Mapping[str, str] | None = None,
) -> str:
    """Make a key for ``client_id`` and return it; it cannot be shown again.

    ``expires_at`` is timezone-aware; None never expires. ``limits`` are rate limits by policy in the place of the
    configured ones. Each call makes a further key. Raises ConfigError naming a wrong argument.
    """
    granted = sorted({_scope(name) for name in scopes})
    if not granted:
        raise ConfigError(f"scopes: at least one of {', '.join(Scope)}")
    if not _CLIENT_ID.match(client_id):
        raise ConfigError("client_id: 1 to 64 letters, digits, dots, underscores and hyphens, not a mark at the start")
    if holds_card_number(client_id, Search.REFERENCE):
        raise ConfigError("client_id: must not hold a payment card number")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= datetime.now(UTC)):
        raise ConfigError("expires_at: must have an offset and lie in the future")
    new = _NewKey(client_id, granted, _checked_limits(limits or {}), expires_at)
    with connect(settings.database_dsn, "keys") as connection, connection.transaction():
        return _insert(connection, pepper(settings), new)


def rotate_key(settings: Settings, key_id: str, grace: timedelta) -> str:
    """Make a key for the same client with the same scopes, limits and length of life, and return it.

    The old one works for ``grace`` more, never longer than it would have. Each call makes a further key. Raises
    NotFoundError for a key that is unknown, expired or revoked, ConfigError for a grace that is not between 0 and 90
    days.
    """
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise ConfigError(f"grace: must be between 0 and {LONGEST_GRACE.days} days")
    with connect(settings.database_dsn, "keys") as connection, connection.transaction():
        row = connection.execute(_QUERIES["lock_valid"], {"key_id": key_id}).fetchone()
        if row is None:
            raise NotFoundError(f"key {key_id!r} does not exist, or is expired or revoked")
        client_id, scopes, limits, life = row
        expires_at = None if life is None else datetime.now(UTC) + life
        token = _insert(connection, pepper(settings), _NewKey(client_id, scopes, limits, expires_at))
        expiring = connection.execute(_QUERIES["let_expire"], {"key_id": key_id, "grace": grace})
        check_stored(expiring, 1, "api_keys")
        _record(connection, key_id, "rotated", {"by": _key_id(token), "grace_s": int(grace.total_seconds())})
        return token


def key_id_of(text: str) -> str:
    """The key id in what a person has given: the id, or the whole key. Raises ConfigError, which does not repeat it."""
    plain = text.strip().strip("'\"").removeprefix("Bearer ")
    whole = _WHOLE_KEY.match(plain)
    key_id = (whole[1] if whole else plain).lower()
    if not _KEY_ID.match(key_id):
        raise ConfigError(f"key id: must be the 12 hex digits in the middle of {PREFIX}_<key id>_<secret>")
    return key_id


def is_whole_key(text: str) -> bool:
    """Return whether ``text`` holds more than a key id, and so perhaps a secret."""
    return "_" in text


def extend_key(settings: Settings, key_id: str, life: timedelta) -> bool:
    """Let a key that is still valid expire ``life`` from now; False when it is expired, revoked or unknown.

    No event is recorded: its creation says how long it lives after its last extension. Safe to run again.
    """
    with connect(settings.database_dsn, "keys") as connection:
        return connection.execute(_QUERIES["extend"], {"key_id": key_id, "life": life}).rowcount == 1


def revoke_key(settings: Settings, key_id: str) -> bool:
    """Make a key useless within seconds; returns False when it is unknown or was revoked before. Safe to rerun."""
    with connect(settings.database_dsn, "keys") as connection, connection.transaction():
        cursor = connection.execute(_QUERIES["revoke"], {"key_id": key_id})
        revoked = cursor.rowcount == 1
        if not revoked and connection.execute(_QUERIES["lock_valid"], {"key_id": key_id}).fetchone():
            check_stored(cursor, 1, "api_keys")  # raises: the key is there, and as good as before
        if revoked:
            _record(connection, key_id, "revoked", {})
        return revoked


def list_keys(settings: Settings) -> list[KeyRecord]:
    """Every key that was ever made, oldest first."""
    with connect(settings.database_dsn, "keys") as connection:
        rows = connection.execute(_QUERIES["list"]).fetchall()
    return [KeyRecord(key_id, client_id, tuple(scopes), *rest) for key_id, client_id, scopes, *rest in rows]


def key_events(settings: Settings, key_id: str | None = None) -> list[KeyEvent]:
    """Return what happened to a key, or to every key, oldest first."""
    with connect(settings.database_dsn, "keys") as connection:
        rows = connection.execute(_QUERIES["events"], {"key_id": key_id}).fetchall()
    return [KeyEvent(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class _NewKey:
    client_id: str
    scopes: list[str]
    limits: Mapping[str, str]
    expires_at: datetime | None


def _insert(connection: Connection, pepper: bytes, new: _NewKey) -> str:
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    record = {
        "key_id": key_id,
        "key_hash": hash_secret(pepper, secret),
        "client_id": new.client_id,
        "scopes": new.scopes,
        "limits": Jsonb(new.limits),
        "expires_at": new.expires_at,
    }
    check_stored(connection.execute(_QUERIES["insert"], record), 1, "api_keys")
    _record(connection, key_id, "created", {"client_id": new.client_id, "scopes": new.scopes})
    return f"{PREFIX}_{key_id}_{secret}"


def _record(connection: Connection, key_id: str, event: str, detail: Mapping[str, Any]) -> None:
    row = {"key_id": key_id, "event": event, "actor": _actor(), "detail": Jsonb(detail)}
    check_stored(connection.execute(_QUERIES["add_event"], row), 1, "api_key_events")


def _actor() -> str:
    """Return who does it, as the operating system knows: not what an environment variable claims."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def _key_id(token: str) -> str:
    return token.split("_")[1]


def _checked_limits(limits: Mapping[str, str]) -> dict[str, str]:
    for policy, rate in limits.items():
        if policy not in LIMITED:
            raise ConfigError(f"limits: {policy!r} is not one of {', '.join(LIMITED)}")
        if not is_rate(rate):
            raise ConfigError(f"limits: {policy}: must be like 600/minute (second, minute, hour, day), at least 1")
    return dict(limits)


def _scope(name: str) -> str:
    try:
        return Scope(name).value
    except ValueError:
        raise ConfigError(f"scopes: {name!r} is not one of {', '.join(Scope)}") from None
