"""API keys as bearer tokens: their scopes, and a short memory of keys already looked up."""

import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from api.caching.single_flight import SingleFlight
from api.connections.database import AsyncConnection, Database
from api.routing.problems import FORBIDDEN, UNAUTHORIZED, HttpError
from ledger.errors import TransientError
from ledger.scopes import Scope
from sql.queries import load
from tasks.admin.keys import PREFIX, hash_secret

REMEMBER_S = 3.0  # a revoked key is refused after at most this long
# While PostgreSQL is away, a key that was good so long ago still reads the monitoring: that is when it is needed.
OUTAGE_S = 3600.0
_MOST_REMEMBERED = 10_000
_MOST_UNKNOWN = 1_000  # key ids that are none: anybody can make them up, and they must not push a good key out
_LOOK_UP_S = 5.0  # one row by its key, the wait for a connection included
_NO_HASH = bytes(32)  # compared with where there is no key
_FIND = load("api_keys")["find"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that may be used, and the client that its rows belong to. Not ``is_fresh``: as it was before an outage."""

    key_id: str
    key_hash: bytes
    client_id: str
    scopes: frozenset[str]
    expires_at: datetime | None
    limits: Mapping[str, str] = field(default_factory=dict)  # the key's own rate limits, by policy
    is_fresh: bool = True

    @property
    def sees_client(self) -> str | None:
        """The client whose rows the key may read; None: of every client."""
        return None if Scope.READ_ALL in self.scopes else self.client_id

    def require(self, scope: Scope) -> None:
        """Raises a 403 problem when the key lacks ``scope``; TransientError when it can only be answered for later."""
        if scope not in self.scopes:
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            raise HttpError(FORBIDDEN, f"The API key lacks the scope {scope}.", {"WWW-Authenticate": challenge})
        if not self.is_fresh and scope != Scope.MONITORING_READ:
            raise TransientError("PostgreSQL does not answer: the key cannot be looked up")


NOBODY = ApiKey(key_id="", key_hash=b"", client_id="", scopes=frozenset(), expires_at=None)


class Authenticator:
    """Turns an Authorization header into an `ApiKey`. ``monotonic`` gives seconds."""

    def __init__(self, database: Database, pepper: bytes, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._pepper = pepper
        self._monotonic = monotonic
        self._remembered: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()  # by the last look-up
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lookups: SingleFlight[str, ApiKey | None] = SingleFlight()

    async def authenticate(self, header: str | None) -> ApiKey:
        """The key that ``header`` carries. Raises a 401 problem that does not say what was wrong."""
        key_id, secret = split(header)
        key = self._proved(await self._look_up(key_id), secret)
        if key is None:
            raise _refused()
        return key

    def remembered(self, key_id: str, secret: str) -> ApiKey | None:
        """The key, if it was looked up just now and ``secret`` is its own; None also when PostgreSQL must be asked."""
        memory = self._remembered.get(key_id)
        if memory is None or self._monotonic() - memory[0] >= REMEMBER_S:
            return None
        return self._proved(memory[1], secret)

    async def by_id(self, key_id: str) -> ApiKey | None:
        """The key, whose secret was proved before, as it is now; None once it is revoked or has expired.

        For the dashboard's sessions. As old as `authenticate` lets a key be. Raises TransientError.
        """
        key = await self._look_up(key_id)
        return None if key is None or _has_expired(key) else key

    def _proved(self, key: ApiKey | None, secret: str) -> ApiKey | None:
        """``key``, if ``secret`` is its own and it has not expired."""
        # The same work whether the key id is known or not: the time taken reveals nothing.
        actual, wanted = hash_secret(self._pepper, secret), key.key_hash if key else _NO_HASH
        if not hmac.compare_digest(actual, wanted) or key is None:
            return None
        return None if _has_expired(key) else key

    async def _look_up(self, key_id: str) -> ApiKey | None:
        now_s = self._monotonic()
        remembered = self._remembered.get(key_id)
        if remembered is not None and now_s - remembered[0] < REMEMBER_S:
            return remembered[1]
        if remembered is None and now_s - self._unknown.get(key_id, -REMEMBER_S) < REMEMBER_S:
            return None
        try:
            return await self._lookups.share(key_id, lambda: self._ask(key_id))
        except TransientError:
            if remembered is None or now_s - remembered[0] >= OUTAGE_S:
                raise
            return replace(remembered[1], is_fresh=False)

    async def _ask(self, key_id: str) -> ApiKey | None:
        asked_s = self._monotonic()  # what is found is as old as the question
        key = await self._database.run(lambda connection: _find(connection, key_id), "find_key", _LOOK_UP_S)
        if key is None:
            self._remembered.pop(key_id, None)
            _keep(self._unknown, key_id, asked_s, _MOST_UNKNOWN)
        else:
            self._unknown.pop(key_id, None)
            _keep(self._remembered, key_id, (asked_s, key), _MOST_REMEMBERED)
        return key


def _has_expired(key: ApiKey) -> bool:
    return key.expires_at is not None and key.expires_at <= datetime.now(UTC)


Remembered = TypeVar("Remembered")


def _keep(memory: OrderedDict[str, Remembered], key_id: str, what: Remembered, most: int) -> None:
    """Remember ``what`` as the newest; beyond ``most``, the entry with the oldest look-up is dropped."""
    memory[key_id] = what
    memory.move_to_end(key_id)
    if len(memory) > most:
        memory.popitem(last=False)


async def _find(connection: AsyncConnection, key_id: str) -> ApiKey | None:
    row = await (await connection.execute(_FIND, {"key_id": key_id})).fetchone()
    if row is None:
        return None
    key_hash, client_id, scopes, expires_at, limits = row
    return ApiKey(key_id, bytes(key_hash), client_id, frozenset(scopes), expires_at, limits or {})


_KEY_ID_LENGTH = 16


def split(header: str | None) -> tuple[str, str]:
    """The key id and the secret that ``header`` carries, not checked. Raises a 401 problem for what can be no key."""
    scheme, _, token = (header or "").partition(" ")
    prefix, _, rest = token.strip().partition("_")
    key_id, _, secret = rest.partition("_")
    if len(key_id) > _KEY_ID_LENGTH:  # what cannot be a key is neither looked up nor remembered
        raise _refused()
    if scheme.lower() != "bearer" or prefix != PREFIX or not secret or not (key_id.isascii() and key_id.isalnum()):
        raise _refused()
    return key_id, secret


def _refused() -> HttpError:
    return HttpError(UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
