"""The report about the log for people: how far it is published, its newest events, its keys and the policy for them."""

from dataclasses import dataclass
from datetime import datetime

from config import Settings
from ledger.errors import NotFoundError
from ledger.installation import Installation
from ledger.transparency.policies import format_policy
from ledger.transparency.replay import LogState, replay_entries
from ledger.transparency.verifier_keys import VerifierKey
from sql.connection import Connection, connect
from sql.installation import read_installation
from sql.log import LogRow, RecordedEvent, count_waiting, newest_events, read_entries, read_log

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class LogReport:
    """The report of `treasury log show`. ``waiting`` events are not published yet, the oldest since ``oldest``."""

    row: LogRow | None
    waiting: int
    oldest: datetime | None
    events: list[RecordedEvent]


def report_log(settings: Settings) -> LogReport:
    """Return how far the log is published. Reads PostgreSQL only; raises NotFoundError before the first month."""
    with connect(settings.database_dsn, "log") as connection:
        number = _require(connection).installation_id
        waiting, oldest = count_waiting(connection, number)
        return LogReport(read_log(connection, number), waiting, oldest, newest_events(connection, number, _SHOWN))


def policy_text(settings: Settings) -> str:
    """The policy (c2sp.org/tlog-policy) that accepts the log's present keys, with the former ones as comments.

    Raises NotFoundError where the log was not published yet.
    """
    with connect(settings.database_dsn, "log") as connection:
        number = _require(connection).installation_id
        row = read_log(connection, number)
        state = replay_entries(read_entries(connection, number))
    if row is None or not row.keys:
        raise NotFoundError("the public log was not published yet: `treasury log publish`")
    policy = format_policy([VerifierKey.parse(text) for text in row.keys]).decode()
    return "\n".join([*_former(state), policy])


def _former(state: LogState) -> list[str]:
    """A comment for each key that signed the log before the present ones."""
    lines, since = [], 0
    for (_, change), (until, _) in zip(state.key_changes, state.key_changes[1:], strict=False):
        lines += [f"# log {text}  (signed checkpoints of {since + 1} to {until} entries)" for text in change.new]
        since = until
    return lines


def _require(connection: Connection) -> Installation:
    installation = read_installation(connection)
    if installation is None:
        raise NotFoundError("nothing was archived yet, so there is no public log")
    return installation
