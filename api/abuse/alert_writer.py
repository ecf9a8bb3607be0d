"""Alerts on their way from requests to PostgreSQL: a bounded queue that is written once a second, off the hot path."""

import logging
from collections import deque
from datetime import UTC, datetime, timedelta

from api.connections.database import AsyncConnection, Database
from api.logs.json_lines import LOGGER
from ledger.errors import TransientError, TreasuryError
from sql.queries import load
from tasks.alerting.request_rules import RULES
from tasks.alerting.store import Alert, raise_alerts, raise_parameters

_MOST_QUEUED = 1_000
_MOST_WRITTEN = 100
QUIET = timedelta(days=1)
_RESOLVE_QUIET = load("alerts")["resolve_quiet"]
_LOG = logging.getLogger(LOGGER)


class AlertWriter:
    """The queue of one process. Each alert is also a line in the log, whether or not PostgreSQL stores it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[tuple[Alert, datetime]] = deque()
        self.dropped = 0

    def put(self, alert: Alert) -> None:
        """Queue an alert; when the queue is full the alert is in the log only, and counted in ``dropped``."""
        fields = {"rule": alert.rule, "subject": alert.subject, "severity": str(alert.severity), "title": alert.title}
        _LOG.warning("alert", extra={"fields": fields})
        if len(self._queue) >= _MOST_QUEUED:
            self.dropped += 1
            return
        self._queue.append((alert, datetime.now(UTC)))

    async def resolve_quiet(self) -> None:
        """Resolve the alerts over requests that were not seen for a day. Safe to repeat, and in several processes."""
        await self._database.run(_resolve_quiet)

    async def flush(self) -> int:
        """Write what is queued, a bounded number at a time; returns how many. Raises the project's errors.

        While PostgreSQL is away the alerts stay queued; a connection lost in the middle may count one twice.
        What PostgreSQL refuses would be refused again: it is dropped, and counted in ``dropped``.
        """
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), _MOST_WRITTEN))]
        if not taken:
            return 0
        try:
            raised = [raise_parameters(alert, at=at) for alert, at in taken]
            await self._database.run(lambda connection: raise_alerts(connection, raised))
        except TransientError:
            self._queue.extendleft(reversed(taken))
            raise
        except TreasuryError:
            self.dropped += len(taken)
            raise
        return len(taken)


async def _resolve_quiet(connection: AsyncConnection) -> None:
    await connection.execute(_RESOLVE_QUIET, {"rules": list(RULES), "since": datetime.now(UTC) - QUIET})
