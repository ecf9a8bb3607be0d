"""Alerts about processes of `treasury up` that ended: stored and sent by `treasury up` itself.

The flow that usually sends notices runs in the worker, which may be the very process that has ended.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from config import Settings
from ledger.alerts import Alert, AlertRule, Severity
from ledger.errors import TreasuryError
from sql.connection import connect
from tasks.admin.processes import Incident, ProcessState
from tasks.alerting.notices import send_notices
from tasks.alerting.store import raise_alert, resolve_alert

PROCESS_ENDED = "process-ended"
DRAIN_S = 10.0
_RETRY_S = 5.0
_POLL_S = 0.05
_WAITING = 100
_LOG = logging.getLogger("treasury.alerts")
_TO_DO = (
    "Read the end of its log, and the kernel's log for `Out of memory`. It was started again; find out why it ended."
)
_LEFT_DOWN = "Read the end of its log and remove the cause; then run `treasury down` and `treasury up`."


def process_rules(_: Settings) -> list[AlertRule]:
    """The rule about processes, for the list of rules."""
    threshold = "at once; critical when it is left down"
    return [AlertRule(PROCESS_ENDED, "A process of `treasury up` ended by itself", Severity.CRITICAL, threshold)]


def note_incident(settings: Settings, incident: Incident) -> None:
    """Raise or resolve the alert of the incident's process, and send the notices that are due.

    A restart that went well changes nothing: the alert ends once the process has run long enough. Raises the project's
    errors when PostgreSQL does not answer. Safe to run again.
    """
    with connect(settings.database_dsn, "incidents") as connection:
        if incident.is_over:
            resolve_alert(connection, PROCESS_ENDED, incident.name)
        elif incident.state is not ProcessState.RUNNING:
            down = incident.state is ProcessState.DOWN
            severity = Severity.CRITICAL if down else Severity.WARNING
            evidence = {"process": incident.name, "ends": incident.ends}
            to_do = _LEFT_DOWN if down else _TO_DO
            alert = Alert(PROCESS_ENDED, incident.name, severity, incident.text, to_do, evidence)
            raise_alert(connection, alert)
    send_notices(settings)


def end_incidents(settings: Settings, names: Iterable[str]) -> None:
    """Resolve the alerts that an earlier `treasury up` left about processes that were just started.

    Sends the notices of their end. Raises the project's errors when PostgreSQL does not answer. Safe to run again.
    """
    with connect(settings.database_dsn, "incidents") as connection:
        ended = [name for name in names if resolve_alert(connection, PROCESS_ENDED, name)]
    if ended:
        send_notices(settings)


@contextmanager
def incident_alerts(settings: Settings) -> Iterator[Callable[[Incident], None]]:
    """Yield a function that takes an incident and returns at once; a thread stores it, again until PostgreSQL answers.

    On leaving, what is not stored yet gets `DRAIN_S` more, and is then given up: its lines are in the log.
    """
    waiting: queue.Queue[Incident] = queue.Queue(_WAITING)
    ending = threading.Event()

    def work() -> None:
        while not ending.is_set():
            try:
                incident = waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            while not _is_noted(settings, incident) and not ending.wait(_RETRY_S):
                pass
            waiting.task_done()

    def take(incident: Incident) -> None:
        try:
            waiting.put_nowait(incident)
        except queue.Full:
            _LOG.error("no alert is raised, too many are waiting for PostgreSQL: %s", incident.text)

    thread = threading.Thread(target=work, name="incidents", daemon=True)
    thread.start()
    try:
        yield take
    finally:
        deadline = time.monotonic() + DRAIN_S
        while waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        ending.set()


def _is_noted(settings: Settings, incident: Incident) -> bool:
    try:
        note_incident(settings, incident)
    except TreasuryError as error:
        _LOG.warning("the alert about %s waits: %s", incident.name, error)
        return False
    except Exception:  # noqa: BLE001  # the thread must live on for the next incident
        _LOG.exception("no alert about %s", incident.name)
    return True
