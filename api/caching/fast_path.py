"""The fast path: a row that this process has in memory is returned at once, without a task, middleware or a route.

It omits nothing. Host, held addresses, both limits, the watch, key, scope, ETag, headers, request id, metrics and log
are those of the ordinary path. The parts are the same. The answer is the same to the byte. Any request that needs a
closer look takes the ordinary path before anything is counted. Only there do requests wait, and only there are they
refused.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.abuse.rate_limits import LimitVerdict, RatePolicy
from api.abuse.watch import Sender
from api.caching import CacheKey, Entry
from api.logs.access_log import AccessLog, RequestRecord, request_id
from api.logs.error_description import describe
from api.logs.json_lines import LOGGER
from api.logs.turns import EachTurn
from api.monitoring import metrics
from api.routing import conditional
from api.server.admission import Hosts
from api.server.security_headers import Headers, added_headers
from api.server.services import Services
from ledger.scopes import Scope

Fields = Sequence[tuple[bytes, bytes]]
# A request with one of these has a body or an expectation, which the ordinary path judges.
_NOT_HERE = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_LOG = logging.getLogger(LOGGER)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are read by id: their table, the template of their address, and what guards them."""

    table: str
    route: str
    scope: Scope
    policy: RatePolicy


class FastPath:
    """For one application. ``rows`` by what is before ``/{id}`` in an address; ``fixed`` headers are on each answer."""

    def __init__(
        self, rows: dict[bytes, Rows], services: Services, hosts: Hosts, log: AccessLog, fixed: Headers
    ) -> None:
        self._rows = rows
        self._defence = services.defence
        self._key_throttle = services.key_throttle
        self._cache = services.cache
        self._hits: EachTurn[Entry] = EachTurn(lambda entries: services.cache.count_hits(len(entries)))
        self._hosts = hosts
        self._log = log
        # Those of 200 and of 304 alike, whatever the answer.
        self._added = render(added_headers((name for name, _ in Entry(b"", final=True).headers), fixed))

    def answer(self, connection: Mapping[str, Any], address: bytes, server_headers: Fields) -> bytes | None:
        """The whole answer to a GET of ``address`` on a connection that stays open; None: take the ordinary path.

        ``connection`` has ``client`` and ``headers`` as in ASGI. Never raises.
        """
        try:
            return self._answer(connection, address, server_headers)
        except Exception as error:  # noqa: BLE001  # a defect here costs time, not the answer
            _LOG.error("the fast path failed", extra={"fields": describe(error)})
            return None

    def _answer(self, connection: Mapping[str, Any], address: bytes, server_headers: Fields) -> bytes | None:
        started_s = time.perf_counter()
        prefix, _, row_id = address.rpartition(b"/")
        rows = self._rows.get(prefix)
        headers = dict(connection["headers"])
        if rows is None or not self._is_plain(connection["headers"], headers):
            return None
        client = self._defence.addresses.client_of(connection)
        key = self._key_throttle.known(headers.get(b"authorization", b"").decode("latin-1"))
        if self._defence.attackers.held(client) is not None or key is None or rows.scope not in key.scopes:
            return None
        # An id that needed decoding, or that a query follows, is in no cache key.
        entry = self._cache.peek(CacheKey.of_row(rows.table, key.sees_client, row_id.decode("latin-1")))
        if entry is None:
            return None
        verdicts = self._defence.limiter.spend_leased(client, rows.policy, key.key_id, key.limits)
        if verdicts is None:
            return None
        metrics.request_began()
        self._hits.add(entry)
        record = RequestRecord(request_id(headers.get(b"x-request-id", b"")), rows.route, key.key_id, address=client)
        if self._defence.watch.enabled:
            self._defence.watch.arrived(address, b"", connection["headers"], Sender(client, record.request_id))
        written = self._write(record, entry, headers.get(b"if-none-match"), verdicts, server_headers)
        self._log.ended("GET", record, client, started_s)
        return written

    def _is_plain(self, fields: Fields, headers: dict[bytes, bytes]) -> bool:
        """Return whether each header was sent once, none is of a kind to be judged, and the host is served here."""
        if len(headers) != len(fields) or not _NOT_HERE.isdisjoint(headers):
            return False
        return self._hosts.serve(headers.get(b"host", b""))

    def _write(
        self,
        record: RequestRecord,
        entry: Entry,
        if_none_match: bytes | None,
        limits: list[LimitVerdict],
        server_headers: Fields,
    ) -> bytes:
        """The answer as it goes over the wire, its headers in the order of the ordinary path."""
        ready = conditional.answer(None if if_none_match is None else if_none_match.decode("latin-1"), entry)
        record.status, record.size_bytes = ready.status_code, len(ready.body)
        own = ready.raw_headers
        for verdict in limits:
            own += verdict.headers()
        return b"".join(
            (
                STATUS_LINE[ready.status_code],
                render(server_headers),
                render(own),
                self._added,
                b"x-request-id: ",
                record.request_id.encode(),
                b"\r\n\r\n",
                ready.body,
            )
        )


def render(headers: Fields) -> bytes:
    """Headers as lines. Nothing that a client made up may be among them: they are not checked."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])
