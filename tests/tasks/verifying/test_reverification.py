"""The nightly verification reads what was read longest ago, records it, and raises an alert about what is wrong."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from config import Settings
from ledger.alerts import Alert, Severity, fingerprint
from ledger.archive_objects import EVERY_PART
from ledger.errors import VerificationError
from ledger.transparency.events import Event, Reverified
from sql.connection import connect
from sql.restored import Request
from sql.verified import PartAge, part_ages
from storage.store import ObjectStore
from tasks.alerting.store import raise_alert
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.health import HealthState, run_checks
from tasks.health.checks import CHECKS
from tasks.restoring.back_to_warm import return_month
from tasks.transparency.publish import publish_log
from tasks.verifying.drill import READERS, drill, drill_again
from tasks.verifying.reverification import DAMAGED, choose_parts, reverify
from tests.archives import Archives, two_cold_months
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger

NEXT = COLD.plus(1)
NOW = datetime(2026, 11, 29, 3, 30, tzinfo=UTC)
WHO = Request("anna", "os anna", "a correction that the auditors ask for", timedelta(days=7))


@pytest.fixture
def archived(ledger: Ledger, archives: Archives) -> Ledger:
    archives.begin(ledger.settings, two_cold_months)
    return ledger


def ages(*days: int) -> list[PartAge]:
    return [PartAge("transactions", f"2024-{place + 1:02d}", 1, NOW - timedelta(days=age), 100)
            for place, age in enumerate(days)]  # fmt: skip


def events(ledger: Ledger) -> list[Reverified]:
    entries = ledger.sql("SELECT entry FROM log_events WHERE event = 'reverified' ORDER BY event_id")
    bodies = [Event.from_bytes(bytes(entry)).body for (entry,) in entries]
    return [body for body in bodies if isinstance(body, Reverified)]


def alerts(ledger: Ledger) -> list[tuple[str, bool]]:
    return ledger.sql("SELECT title, resolved_at IS NULL FROM alerts WHERE rule = %s", DAMAGED)


def test_no_byte_grows_older_than_the_setting_also_where_nights_fail() -> None:
    for failing in (lambda _: False, lambda night: night % 3 == 0):
        parts = ages(*([0] * 12))
        held = {one.month: 0 for one in parts}
        for night in range(400):
            held = {month: age + 1 for month, age in held.items()}
            if failing(night):
                continue
            listed = sorted(
                (PartAge("transactions", month, 1, NOW - timedelta(days=age), 100) for month, age in held.items()),
                key=lambda one: one.verified_at,
            )
            for one in choose_parts(listed, NOW, 90):
                held[one.month] = 0
            assert max(held.values()) <= 90
    assert choose_parts([], NOW, 90) == []


def test_a_night_reads_a_part_and_all_that_is_due(archived: Ledger) -> None:
    assert [one.month for one in choose_parts(ages(95, 85, 20, 10), NOW, 90)] == ["2024-01", "2024-02"]
    with connect(archived.settings.database_dsn, "tests") as connection:
        before = part_ages(connection)
    night = reverify(archived.settings)
    assert (night.parts, night.rows) == (1, ROWS)
    with connect(archived.settings.database_dsn, "tests") as connection:
        after = part_ages(connection)
    assert [one.month for one in after] == [before[1].month, before[0].month]
    assert after[1].verified_at > before[0].verified_at
    (told,) = events(archived)
    manifest = archived.sql(
        "SELECT encode(manifest_sha256, 'hex') FROM archive_months WHERE month = %s", COLD.first_day
    )
    assert (told.month, told.deep, told.manifest_sha256) == (str(COLD), True, manifest[0][0])
    reverify(archived.settings)
    assert [one.month for one in events(archived)] == [str(COLD), str(NEXT)]
    assert archived.sql("SELECT count(*) FROM archive_verified WHERE deep") == [(2 * len(EVERY_PART),)]


def test_what_was_read_in_the_future_counts_as_not_read(archived: Ledger) -> None:
    reverify(archived.settings)
    reverify(archived.settings)
    archived.sql(
        "UPDATE archive_verified SET verified_at = now() + interval '10 years' WHERE month = %s", NEXT.first_day
    )
    with connect(archived.settings.database_dsn, "tests") as connection:
        first, second = part_ages(connection)
    assert (first.month, second.month) == (str(NEXT), str(COLD))
    assert first.verified_at <= second.verified_at <= datetime.now(UTC)
    reverify(archived.settings)
    assert archived.sql("SELECT count(*) FROM archive_verified WHERE verified_at > now()") == [(0,)]


def test_the_former_objects_of_a_month_in_work_are_read_in_their_turn(archived: Ledger) -> None:
    key, object_bytes = archived.sql(
        "SELECT object_key, object_bytes FROM archive_months WHERE month = %s", COLD.first_day
    )[0]
    return_month(archived.settings, archived.table, COLD, WHO)
    publish_log(archived.settings)
    archived.sql("UPDATE archive_verified SET verified_at = now()")
    archived.sql("UPDATE month_returns SET returned_at = now() - interval '95 days'")
    with connect(archived.settings.database_dsn, "tests") as connection:
        oldest, _ = part_ages(connection)
    assert (str(oldest), oldest.former_key) == (f"transactions {COLD}, former part 1", key)
    check = [check for check in CHECKS if check.name == "verification"]
    (result,) = run_checks(archived.settings, check)
    assert f"{oldest}, 95 days ago" in result.line
    night = reverify(archived.settings)
    assert (night.parts, night.size_bytes > object_bytes) == (1, True)
    assert archived.sql("SELECT count(*), bool_or(deep) FROM archive_verified WHERE month = %s", COLD.first_day) == [
        (len(EVERY_PART), False)
    ]
    (event,) = events(archived)
    assert (event.month, event.part, event.deep) == (str(COLD), 1, False)
    with connect(archived.settings.database_dsn, "tests") as connection:
        assert [age.month for age in part_ages(connection)] == [str(NEXT), str(COLD)]


def test_a_former_object_with_other_bytes_is_found_in_its_turn(archived: Ledger) -> None:
    key = archived.catalogue(COLD)["object_key"]
    return_month(archived.settings, archived.table, COLD, WHO)
    publish_log(archived.settings)
    archived.sql("UPDATE month_returns SET returned_at = now() - interval '95 days'")
    store = ObjectStore(archived.settings)
    content = store.read_bytes(key)
    store.remove(key)
    store.put_bytes(bytes([content[0] ^ 1]) + content[1:], key)
    with pytest.raises(VerificationError, match=f"{key}: its SHA-256 is not the one in the log: a former object"):
        reverify(archived.settings)
    with connect(archived.settings.database_dsn, "tests") as connection:
        assert part_ages(connection)[0].former_key == key


def test_what_is_wrong_fails_the_night_with_an_alert_that_ends_with_it(archived: Ledger) -> None:
    key = archived.catalogue(NEXT)["object_key"]
    store = ObjectStore(archived.settings)
    content = store.read_bytes(key)
    store.remove(key)
    with pytest.raises(VerificationError, match=f"{key}: is missing"):
        reverify(archived.settings)
    assert [is_open for _, is_open in alerts(archived)] == [True]
    assert [one.month for one in events(archived)] == [str(COLD)]  # what was whole is recorded all the same
    store.put_bytes(content, key)
    reverify(archived.settings)
    assert [is_open for _, is_open in alerts(archived)] == [False]


def test_the_health_check_says_how_long_ago_the_oldest_byte_was_read(archived: Ledger) -> None:
    check = [one for one in CHECKS if one.name == "verification"]
    assert [one.state for one in run_checks(archived.settings, check)] == [HealthState.HEALTHY]
    archived.sql("UPDATE archive_months SET verified_at = now() - interval '95 days' WHERE month = %s", COLD.first_day)
    (found,) = run_checks(archived.settings, check)
    assert found.state is HealthState.WARNING
    assert f"transactions {COLD}, part 1, 95 days ago" in found.line
    reverify(archived.settings)
    assert [one.state for one in run_checks(archived.settings, check)] == [HealthState.HEALTHY]


def test_three_readers_and_the_catalogue_agree_on_a_random_month(archived: Ledger, settings: Settings) -> None:
    done = drill(settings)
    assert done is not None
    assert (done.rows, done.readers) == (ROWS, tuple(READERS))
    archived.sql("UPDATE archive_months SET row_count = 41")
    with pytest.raises(VerificationError, match=r"DuckDB reads 40 rows, PostgreSQL's catalogue says 41.*DataFusion"):
        drill(settings)
    assert [is_open for _, is_open in alerts(archived)] == [True]
    reverify(archived.settings)  # the rows are whole, and the catalogue still says otherwise
    with pytest.raises(VerificationError, match="PostgreSQL's catalogue says 41"):
        drill_again(settings)
    assert [is_open for _, is_open in alerts(archived)] == [True]
    archived.sql("UPDATE archive_months SET row_count = 40")
    drill_again(settings)
    assert [is_open for _, is_open in alerts(archived)] == [False]


def test_an_alert_of_the_drill_ends_when_its_part_is_archived_no_more(archived: Ledger, settings: Settings) -> None:
    archived.sql("UPDATE archive_months SET row_count = 41")
    with pytest.raises(VerificationError, match="catalogue says 41"):
        drill(settings)
    archived.sql("UPDATE alerts SET subject = 'transactions 2011-01, part 1', fingerprint = %s",
                 fingerprint(DAMAGED, "transactions 2011-01, part 1"))  # fmt: skip
    drill_again(settings)
    assert [is_open for _, is_open in alerts(archived)] == [False]


def test_every_alert_of_the_drill_is_looked_at_however_many_there_are(archived: Ledger, settings: Settings) -> None:
    with connect(settings.database_dsn, "tests") as connection:
        for part in range(101):  # more than a list of alerts has by default
            subject = f"transactions 2011-01, part {part}"
            raise_alert(connection, Alert(DAMAGED, subject, Severity.CRITICAL, "damaged", "look at it", {}))
    drill_again(settings)
    assert {is_open for _, is_open in alerts(archived)} == {False}


def test_a_sum_of_zero_is_the_catalogue_s_zero(ledger: Ledger) -> None:
    table = ledger.settings.table("vas_transactions")
    ledger.fill(COLD, table=table, fee=Decimal("0.00"), currency="ZAR")
    warm_month(ledger.settings, table, COLD)
    archive_month(ledger.settings, table, COLD)
    done = drill(ledger.settings)
    assert done is not None
    assert (done.named[0], done.rows) == ("vas_transactions", ROWS)


def test_without_an_archived_month_there_is_nothing_to_do(ledger: Ledger) -> None:
    assert reverify(ledger.settings).parts == 0
    assert drill(ledger.settings) is None
