"""What the tests of the watch share: a ledger with its partitions, and a way to put rows in and run the watch."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from config import Settings
from ledger.months import Month
from ledger.tables import BUILT_IN, TRANSACTIONS, TieredTable
from sql.connection import Connection, connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from tasks.watch import WatchReport, watch_transactions
from tests.databases import make_template
from tests.sql.ledger_rows import add_row

NOON = datetime(2026, 5, 20, 10, 0, tzinfo=UTC)  # in Johannesburg
Finding = tuple[str, str, str, str, dict[str, Any]]


class Ledger:
    """A ledger from November 2025 to June 2026, and the watch over it as of any instant."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self.settings = settings
        self.connection = connection

    def add(self, at: datetime, table: TieredTable = TRANSACTIONS, **changes: Any) -> UUID:
        """Store one row; an amount is as it stands in the ledger."""
        return add_row(self.connection, table, at, **changes)

    def configured(self, **changes: Any) -> None:
        """Change settings of the watch; a rule's fields are given as a dictionary."""
        watch = self.settings.watch_transactions
        found = {
            **watch.model_dump(),
            **{
                name: {**getattr(watch, name).model_dump(), **value} if isinstance(value, dict) else value
                for name, value in changes.items()
            },
        }
        self.settings = self.settings.model_copy(update={"watch_transactions": type(watch).model_validate(found)})

    def watch(self, now: datetime = NOON + timedelta(hours=1)) -> WatchReport:
        """One run of the watch up to ``now``."""
        return watch_transactions(self.settings, now)

    def findings(self, rule: str | None = None) -> list[Finding]:
        """What was found so far: rule, table, subject, window and evidence."""
        rows = self.connection.execute(
            "SELECT rule, table_name, subject, window_key, evidence FROM watch_findings"
            " WHERE %(rule)s::text IS NULL OR rule = 'transaction-' || %(rule)s ORDER BY 1, 2, 3, 4",
            {"rule": rule},
        )
        return [tuple(row) for row in rows.fetchall()]

    def rules(self) -> set[str]:
        """The rules that something was found by."""
        return {one[0].removeprefix("transaction-") for one in self.findings()}


def _with_months(draft: Settings) -> None:
    with connect(draft.database_dsn, "tests") as connection:
        for table in BUILT_IN:
            prepare_table(connection, draft, table)
            for distance in range(8):
                ensure_partition(connection, draft, table, Month(2025, 11).plus(distance))


@pytest.fixture(scope="session")
def template(server_settings: Settings, migrated: str) -> str:
    """The name of a database with partitions from November 2025 to June 2026."""
    return make_template(server_settings, f"{migrated}_watch", migrated, _with_months)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with connect(settings.database_dsn, "tests") as connection:
        yield Ledger(settings, connection)
