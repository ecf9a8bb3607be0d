"""Sessions of the dashboard: an API key that was shown once, and a cookie in its place that ends soon.

The cookie is 256 random bits. PostgreSQL keeps their SHA-256 and the id of the key, never the key or its secret. Each
request finds the session by the hash and then the key by its id, both with the short memory of bearer keys. So the
scopes of a session are the key's own of now, and a session or key that was revoked is refused within `REMEMBER_S`.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg.rows import TupleRow

from api.caching.single_flight import SingleFlight
from api.connections.database import AsyncConnection, Database
from api.keys.auth import REMEMBER_S, ApiKey, Authenticator
from api.routing.problems import FORBIDDEN, UNAUTHORIZED, HttpError
from config import Settings
from ledger.errors import NotStoredError, TransientError
from sql.queries import load
from tasks.admin.sessions import LIST_LIMIT, DashboardSession, read_session

TOKEN_BYTES = 32
LONGEST_TOKEN = 43  # characters of Base64
_MOST_REMEMBERED = 10_000
_LOOK_UP_S = 5.0
_FORM_KEY = b"treasury dashboard form"
FIRST_VISIT = "Sign in with an API key."  # said to a browser without a session
_QUERIES = load("dashboard_sessions")


@dataclass(frozen=True, slots=True)
class Session:
    """A session that may be used now. ``token_sha256`` stands for it in PostgreSQL."""

    session_id: int
    token_sha256: bytes
    key_id: str
    expires_at: datetime
    is_use_due: bool = False  # its use is to be noted
    is_fresh: bool = True  # False: as it was before PostgreSQL stopped answering


@dataclass(frozen=True, slots=True)
class Visit:
    """The circumstances in which a session begins: the network, the name of the browser, HTTPS or not."""

    network: str
    browser: str
    over_https: bool


class Sessions:
    """The sessions of one installation, as one process sees them. ``monotonic`` gives seconds."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        authenticator: Authenticator,
        pepper: bytes,
        monotonic: Callable[[], float],
    ) -> None:
        self._database = database
        self._authenticator = authenticator
        self._form_key: Final = hmac.digest(pepper, _FORM_KEY, hashlib.sha256)
        self._limits: Final = settings.dashboard
        self._monotonic = monotonic
        self._remembered: OrderedDict[tuple[bytes, bool], tuple[float, Session | None]] = OrderedDict()
        self._lookups: SingleFlight[tuple[bytes, bool], Session | None] = SingleFlight()

    async def begin(self, key: ApiKey, visit: Visit) -> str:
        """Begin a session of ``key``, whose secret was just proved, and return the token for its cookie. Raises
        NotStoredError, TransientError.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        row = {
            "token_sha256": _sha256(token),
            "key_id": key.key_id,
            "over_https": visit.over_https,
            "address": visit.network,
            "browser": visit.browser,
            "life": self._limits.life,
        }
        if not await self._run("insert", row):
            raise NotStoredError("dashboard_sessions: PostgreSQL did not store the session")
        return token

    async def find(self, token: str | None, *, over_https: bool) -> tuple[Session, ApiKey]:
        """The session of a cookie, and its key as it is now. Raises a 401 problem, TransientError."""
        session = None if token is None else await self._look_up((_sha256(token), over_https))
        if session is None or session.expires_at <= datetime.now(UTC):
            raise HttpError(UNAUTHORIZED, FIRST_VISIT)
        key = await self._authenticator.by_id(session.key_id)
        if key is None:
            raise HttpError(UNAUTHORIZED, "The API key of this session was revoked or has expired.")
        return session, key if session.is_fresh else replace(key, is_fresh=False)

    async def note_use(self, session: Session) -> None:
        """Note that a person used the session, once a minute at most: one that is not used ends."""
        if session.is_use_due and session.is_fresh:
            await self._run("note_use", {"session_id": session.session_id, "idle": self._limits.idle}, fetch=False)
            self._forget(session.token_sha256)

    async def end(self, session_id: int, key_id: str) -> bool:
        """End a session of the key; False when it is not one of its open sessions. Safe to repeat.

        Raises NotStoredError when PostgreSQL kept the session open.
        """
        which = {"session_id": session_id, "key_id": key_id}
        ended = await self._run("revoke", which, fetch=False)
        if not ended and (await self._run("is_open", which))[0][0]:
            raise NotStoredError(f"dashboard_sessions: PostgreSQL did not end session {session_id}")
        for memory, (_, session) in list(self._remembered.items()):
            if session is not None and session.session_id == session_id:
                del self._remembered[memory]
        return bool(ended)

    async def of_key(self, key_id: str) -> list[DashboardSession]:
        """The sessions of a key, newest first: those that are open, and those that ended not long ago."""
        which = {"key_id": key_id, "idle": self._limits.idle, "limit": LIST_LIMIT}
        return [read_session(row) for row in await self._run("list", which)]

    def form_token(self, session: Session) -> str:
        """The token that a form of this session carries: no other site can know it."""
        return hmac.new(self._form_key, session.token_sha256, hashlib.sha256).hexdigest()

    def check_form(self, session: Session, token: str) -> None:
        """Raises a 403 problem unless ``token`` is the token of a form of this session."""
        if not hmac.compare_digest(self.form_token(session).encode(), token.encode()):
            said = (
                "The form is not of this session, so nothing was recorded. Open its page again, and send it once more."
            )
            raise HttpError(FORBIDDEN, said)

    async def _look_up(self, which: tuple[bytes, bool]) -> Session | None:
        now_s = self._monotonic()
        asked_s, session = self._remembered.get(which, (float("-inf"), None))
        if now_s - asked_s < REMEMBER_S:
            return session
        try:
            return await self._lookups.share(which, lambda: self._ask(which))
        except TransientError:
            if session is None or timedelta(seconds=now_s - asked_s) >= self._limits.idle:
                raise
            return replace(session, is_fresh=False)

    async def _ask(self, which: tuple[bytes, bool]) -> Session | None:
        asked_s = self._monotonic()  # what is found is as old as the question
        token_sha256, over_https = which
        row = {"token_sha256": token_sha256, "over_https": over_https, "idle": self._limits.idle}
        rows = await self._run("find", row)
        session = None
        if rows:
            session_id, key_id, expires_at, is_use_due = rows[0]
            session = Session(session_id, token_sha256, key_id, expires_at, is_use_due)
        self._remembered[which] = asked_s, session
        self._remembered.move_to_end(which)
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return session

    def _forget(self, token_sha256: bytes) -> None:
        for over_https in (False, True):
            self._remembered.pop((token_sha256, over_https), None)

    async def _run(self, name: str, row: dict[str, Any], *, fetch: bool = True) -> Any:
        """The rows that a query gives; without ``fetch`` the number of those that it changed."""

        async def work(connection: AsyncConnection) -> list[TupleRow] | int:
            cursor = await connection.execute(_QUERIES[name], row)
            return await cursor.fetchall() if fetch else cursor.rowcount

        return await self._database.run(work, f"session_{name}", _LOOK_UP_S)


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
