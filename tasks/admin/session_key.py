"""The API key of `treasury up`: one a home, valid while it runs and a little longer, revoked when it stops."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from config import Settings, generated_keys
from ledger.errors import TreasuryError
from ledger.scopes import CLIENT_SCOPES
from tasks.admin.keys import create_key, extend_key, key_id_of, revoke_key

LIFE = timedelta(hours=1)  # after the last extension: of a process that was killed no key stays for longer
EXTENDED_EVERY = timedelta(minutes=10)
FILE = "session-key-id"  # in the keys of the home; an id is not a secret
_LOG = logging.getLogger("treasury.keys")


def replace_session_key(settings: Settings, client_id: str) -> str:
    """Make the key of a session for ``client_id`` and return it; the one that a killed session has left is revoked.

    Its id is kept in the home. Safe to run again: then the former one is revoked.
    """
    end_session_key(settings)
    token = create_key(settings, client_id, CLIENT_SCOPES, datetime.now(UTC) + LIFE)
    generated_keys.write_private(generated_keys.folder(settings.home) / FILE, key_id_of(token))
    return token


def end_session_key(settings: Settings) -> bool:
    """Revoke the key that the home has noted; False when there is none, or it is revoked already. Safe to run again."""
    path = generated_keys.folder(settings.home) / FILE
    try:
        key_id = key_id_of(path.read_text())
    except (FileNotFoundError, TreasuryError):
        return False
    revoked = revoke_key(settings, key_id)
    path.unlink(missing_ok=True)
    return revoked


@contextmanager
def kept_valid(settings: Settings, token: str) -> Iterator[None]:
    """Extend the session key ``token`` as long as the block runs, and revoke it afterwards.

    While PostgreSQL is away it is not extended, and is tried again; when it cannot be revoked it expires by itself.
    """
    ending, key_id = threading.Event(), key_id_of(token)

    def work() -> None:
        while not ending.wait(EXTENDED_EVERY.total_seconds()):
            try:
                extend_key(settings, key_id, LIFE)
            except TreasuryError as error:
                _LOG.warning("the key of this session was not extended: %s", error)

    thread = threading.Thread(target=work, name="session key", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        try:
            end_session_key(settings)
        except TreasuryError as error:
            _LOG.warning("the key of this session is not revoked, it expires within %s: %s", LIFE, error)
