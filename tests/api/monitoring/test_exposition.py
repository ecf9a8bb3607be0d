"""What Prometheus reads, and that the examples for it ask for what there is."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api.monitoring import metrics
from config import Settings
from tests.api.conftest import Headers
from tests.api.ledger_rows import BODY, keyed

COLD_MONTH = """
    INSERT INTO archive_months (table_name, month, tier, digest, object_key, manifest_key, verified_at)
    VALUES ('transactions', '2020-01-01', 'cold', sha256(''), 'o', 'm', now() - interval '100 days')
"""
EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "monitoring"
RULES = [rule for group in yaml.safe_load((EXAMPLES / "rules.yml").read_text())["groups"] for rule in group["rules"]]


def exposed(client: httpx.Client, key: Headers) -> dict[str, Any]:
    """The exposition as Prometheus's own parser reads it, by sample name."""
    response = client.get("/metrics", headers=key)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.text)
    return {sample.name: sample for family in families for sample in family.samples}


def touch_everything() -> None:
    """Make each metric that has labels appear once."""
    metrics.cache_event("local", "hit", 0)
    metrics.limit_refused("general")
    metrics.auth_failed("unauthorized")
    metrics.queried("store", 0.001, failed=True)
    metrics.flushed("transactions", 1, 1, 0.001)


def _expressions() -> list[str]:
    panels = json.loads((EXAMPLES / "grafana.json").read_text())["panels"]
    return [rule["expr"] for rule in RULES] + [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.parametrize(("rows", "days"), [(False, 0.0), (True, 100.0)])
def test_the_age_of_the_oldest_unverified_byte_is_a_metric(
    api: httpx.Client, watcher: Headers, ready: Settings, rows: bool, days: float
) -> None:
    if rows:
        with psycopg.connect(ready.database_dsn, autocommit=True) as connection:
            connection.execute(COLD_MONTH)
    sample = exposed(api, watcher)["treasury_archive_oldest_unverified_seconds"]
    assert sample.value / 86_400 == pytest.approx(days, abs=0.5)


def test_a_time_to_come_makes_no_byte_younger(api: httpx.Client, watcher: Headers, ready: Settings) -> None:
    with psycopg.connect(ready.database_dsn, autocommit=True) as connection:
        connection.execute(COLD_MONTH)
        connection.execute(
            "INSERT INTO treasury.archive_verified SELECT object_key, table_name, month, part,"
            " now() + interval '10 years', true FROM treasury.archive_objects"
        )
    sample = exposed(api, watcher)["treasury_archive_oldest_unverified_seconds"]
    assert sample.value / 86_400 == pytest.approx(100, abs=0.5)


def test_holds_and_deletions_are_counted(api: httpx.Client, watcher: Headers, ready: Settings) -> None:
    with psycopg.connect(ready.database_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO treasury.holds SELECT n, 'm', NULL, '2024-01-01', '2024-01-01', NULL, NULL, 'r', 'a', 'a',"
            " now(), CASE n WHEN 1 THEN '2024-02-01'::date ELSE '2099-01-01' END, 'k' || n, 1, sha256('')"
            " FROM generate_series(1, 2) AS n"
        )
        connection.execute(
            "INSERT INTO treasury.deletion_requests"
            " VALUES (1, '2024-01-01', '[]', sha256(''), 2, 14, 'a', 'a', 'r', now())"
        )
    found = exposed(api, watcher)
    counts = {name: found[name].value for name in found if name.startswith(("treasury_holds", "treasury_deletion"))}
    assert counts == {
        "treasury_holds_open": 2,
        "treasury_holds_overdue": 1,
        "treasury_deletions_unfinished": 0,
        "treasury_deletion_requests_waiting": 1,
    }


ENDS = {"deep", "deep_bytes", "held", "in_grace", "due", "deleted"}
MONTHS = """
    INSERT INTO archive_months (table_name, month, part, tier, step, digest, object_key, object_bytes, manifest_key,
                                verified_at, cold_at, deep_at, certificate, deleted_at)
    SELECT 'transactions', month, part, tier, step, sha256(''), key, bytes, 'm' || key, now(), now(),
           CASE tier WHEN 'deep' THEN now() END, certificate, CASE WHEN certificate IS NOT NULL THEN now() END
    FROM (VALUES (date '2019-01-01', 1, 'deep', 'idle', 'a', 100, NULL),
                 (date '2019-01-01', 2, 'deep', 'idle', 'b', 20, NULL),
                 (date '2019-02-01', 1, 'deep', 'idle', 'c', 3, NULL),
                 (date '2020-01-01', 1, 'cold', 'idle', 'd', 4000, NULL),
                 (date '2020-02-01', 1, 'cold', 'idle', 'e', 5000, NULL),
                 (date '2014-01-01', 1, 'deleted', 'idle', 'f', 1, 'DEL-1-1'),
                 (date '2014-02-01', 1, 'deleted', 'idle', 'g', 1, 'DEL-1-2'),
                 (date '2014-02-01', 2, 'deleted', 'idle', 'h', 1, 'DEL-1-2'),
                 (date '2014-03-01', 1, 'deleted', 'deleting', 'i', 1, 'DEL-1-3'))
         AS made (month, part, tier, step, key, bytes, certificate)
"""
# One hold on January and February 2019; one of April to July 2020, where nothing is archived; a released one on 2020;
# one on February 2020 whose release is of one person alone, so that it does not count.
HOLDS = """
    INSERT INTO holds (hold_id, matter, table_name, first_month, last_month, reason, actor, account, placed_at,
                       review_on, object_key, object_bytes, object_sha256)
    SELECT number, 'm', table_name, first_month, last_month, 'r', 'a', 'a', now(), '2099-01-01', 'k' || number, 1,
           sha256('')
    FROM (VALUES (1, 'transactions', date '2019-01-01', date '2019-02-01'),
                 (2, NULL, date '2020-04-01', date '2020-07-01'),
                 (3, NULL, date '2020-01-01', date '2020-12-01'),
                 (4, NULL, date '2020-02-01', date '2020-02-01')) AS placed (number, table_name, first_month,
                                                                            last_month);
    INSERT INTO hold_decisions (hold_id, action, actor, account, reason, decided_at, object_key, object_bytes,
                                object_sha256)
    VALUES (3, 'proposed', 'b', 'b', 'r', now(), NULL, NULL, NULL),
           (3, 'released', 'c', 'c', 'r', now(), 'k', 1, sha256('')),
           (4, 'proposed', 'b', 'b', 'r', now(), NULL, NULL, NULL),
           (4, 'released', 'B', 'B', 'r', now(), 'l', 1, sha256(''))
"""
# Of three requests one is in its grace period, with two months; of one the grace period is over; one was revoked.
REQUESTS = """
    INSERT INTO deletion_requests
    SELECT n, '2024-01-01', '[{}, {}]', sha256(''), 1, 14, 'a', 'a', 'r', now() - interval '30 days'
    FROM generate_series(1, 3) AS n;
    INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at)
    VALUES (1, 'approved', 'b', 'b', 'r', now() - interval '13 days'),
           (2, 'approved', 'b', 'b', 'r', now() - interval '15 days'),
           (3, 'approved', 'b', 'b', 'r', now() - interval '13 days'),
           (3, 'revoked', 'b', 'b', 'r', now())
"""
# A request that needs two people, and of which one has approved twice.
TWICE = """
    INSERT INTO deletion_requests VALUES (4, '2024-01-01', '[{}]', sha256(''), 2, 14, 'a', 'a', 'r', now());
    INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at)
    VALUES (4, 'approved', 'ben', 'ben', 'r', now()), (4, 'approved', 'Ben ', 'BEN', 'r', now())
"""
# Past the policy of 120 months: one that a request is about, and one that none is about.
PAST = """
    INSERT INTO archive_months (table_name, month, tier, digest, object_key, manifest_key, verified_at)
    SELECT 'transactions', month, 'cold', sha256(''), 'past' || month, 'm' || month, now()
    FROM (VALUES (date '2010-01-01'), (date '2010-02-01')) AS made (month);
    INSERT INTO deletion_requests
    VALUES (5, '2024-01-01', '[{"table": "transactions", "month": "2010-02"}]', sha256(''), 2, 14, 'a', 'a', 'r', now())
"""


def test_months_that_are_deep_held_in_grace_and_deleted_are_counted(
    api: httpx.Client, watcher: Headers, ready: Settings
) -> None:
    with psycopg.connect(ready.database_dsn, autocommit=True) as connection:
        for statement in (MONTHS, HOLDS, REQUESTS, TWICE, PAST):
            connection.execute(statement)
    found = exposed(api, watcher)
    counts = {name: found[name].value for name in found if name.startswith("treasury_months_")}
    assert {name: value for name, value in counts.items() if name.removeprefix("treasury_months_") in ENDS} == {
        "treasury_months_deep": 3,
        "treasury_months_deep_bytes": 123,
        "treasury_months_held": 3,
        "treasury_months_in_grace": 2,
        "treasury_months_due": 1,
        "treasury_months_deleted": 2,
    }
    assert found["treasury_deletion_requests_waiting"].value == 2
    assert found["treasury_holds_open"].value == 3


def test_figures_that_cannot_be_read_take_no_others_with_them(
    api: httpx.Client, watcher: Headers, ready: Settings
) -> None:
    with psycopg.connect(ready.database_dsn) as connection:
        connection.execute("LOCK TABLE treasury.holds")
        found = exposed(api, watcher)
    assert "treasury_holds_open" not in found
    assert found["treasury_archive_oldest_unverified_seconds"].value == 0
    assert found["treasury_log_events"].value == 0


def test_the_examples_ask_for_metrics_and_labels_that_exist(api: httpx.Client, watcher: Headers) -> None:
    touch_everything()
    api.post("/api/v1/transactions", json=BODY, headers=keyed())
    known = exposed(api, watcher)
    named = {name for text in _expressions() for name in re.findall(r"\btreasury_\w+", text)}
    recorded = {name for text in _expressions() for name in re.findall(r"\btreasury:[\w:]+", text)}
    labels = {label for text in _expressions() for label in re.findall(r"[{,]\s*(\w+)[!=]~?=?\"", text)} - {"job"}

    assert len(named) > 10
    assert named <= known.keys()
    assert recorded == {rule["record"] for rule in RULES if "record" in rule}
    assert labels <= {label for sample in known.values() for label in sample.labels}


FLOOD = """
import json
from api.monitoring import metrics
for number in range(500):
    metrics.cache_event("layer", f"event {number}")
    metrics.queried(f"query {number}", 0.001, failed=False)
    metrics.request_began()
    metrics.requests_ended([("GET", f"/made/up/{number}", 200, 0.001)])
samples = [sample for family in metrics.REGISTRY.collect() for sample in family.samples]
print(json.dumps([[sample.name, sample.labels, sample.value] for sample in samples]))
"""


def test_labels_are_bounded_and_nothing_goes_uncounted() -> None:
    # In a process of its own: what overflows stays so.
    done = subprocess.run([sys.executable, "-c", FLOOD], check=True, capture_output=True, text=True, timeout=60)
    samples = json.loads(done.stdout)

    for name, label, most in (
        ("treasury_api_cache_events_total", "event", 65),
        ("treasury_api_query_duration_seconds_count", "query", 101),
        ("treasury_api_requests_total", "route", 201),
    ):
        counts = {labels[label]: value for sample, labels, value in samples if sample == name}
        assert len(counts) == most
        assert counts["other"] == 500 - (most - 1)
        assert sum(counts.values()) == 500


@pytest.mark.parametrize(("method", "status"), [("PROPFIND", 405), ("GET", 999), ("GET", 0)])
def test_no_method_and_no_status_makes_counting_fail(method: str, status: int) -> None:
    metrics.request_began()
    metrics.requests_ended([(method, "", status, 0.001)])


def test_many_requests_are_counted_together_as_each_by_itself() -> None:
    bounds = metrics.DURATION_BUCKETS_S
    durations_s = [0.0, *bounds, *(bound * 1.01 for bound in bounds), 1e9]
    ended = [("GET", status, duration_s) for duration_s in durations_s for status in (0, 200, 404)]
    ended += [("BREW", 200, 0.1)] * 2
    for method, status, duration_s in ended:
        metrics.request_began()
        metrics.requests_ended([(method, "/each/by/itself", status, duration_s)])
        metrics.request_began()
    metrics.requests_ended((method, "/together", status, duration_s) for method, status, duration_s in ended)

    assert _of_route("/together") == pytest.approx(_of_route("/each/by/itself"))
    assert sum(_of_route("/together").values()) > len(ended)


def _of_route(route: str) -> dict[tuple[str, ...], float]:
    """The samples of a route by name and by labels but for the route."""
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label != "route")): sample.value
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        if sample.labels.get("route") == route
    }


def test_the_public_log_is_told_from_postgresql(api: httpx.Client, watcher: Headers) -> None:
    known = exposed(api, watcher)
    names = ("treasury_log_events", "treasury_log_unpublished_events", "treasury_log_unpublished_age_seconds")
    assert [known[name].value for name in names] == [0.0, 0.0, 0.0]
