"""An event is published as soon as its transaction has ended, by the work that recorded it.

The event is in PostgreSQL whatever happens here: what fails, or what another publisher holds up, is published by the
flow `publish-log` within five minutes.
"""

from contextlib import suppress

import psycopg

from config import Settings
from ledger.errors import TreasuryError
from sql.connection import connect
from sql.log import may_publish
from tasks.transparency.publish import publish_log

_WAIT_S = 5  # for another publisher: somebody waits for the answer


def publish_at_once(settings: Settings, done: str) -> str:
    """Put what was recorded into the public log; returns ``done`` and why it is not there yet, empty where it is."""
    try:
        publish_log(settings)
    except TreasuryError as error:
        return f"{done}; its event waits for the public log: {error}"
    return ""


def publish_for_people(settings: Settings) -> None:
    """Put what a person has just decided into the public log, without a long wait and without an error.

    A process whose login may not write to the log leaves it to the flow, as the API's own login does.
    """
    with suppress(TreasuryError, psycopg.Error):
        with connect(settings.database_dsn, "log") as connection:
            if not may_publish(connection):
                return
        publish_log(settings, wait_s=_WAIT_S)
