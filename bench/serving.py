"""The API at a steady 1,000 requests a second, mixed, over 10,000 open connections; for longer: `bench.soak`."""

import json
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from bench.load.mixed import LoadPlan
from bench.posting import serving
from bench.scratch import scratch
from config import Settings
from ledger.scopes import CLIENT_SCOPES, Scope
from servers.stack import PROJECT
from tasks.admin.keys import create_key
from tasks.archiving.calendar import utc_today
from tasks.archiving.rollover import roll_table

CONNECTIONS = 10_000
PER_S = 1000
DURATION_S = 60.0
READ_SHARE = 0.7
ZIPF = 1.1
IDS = 20_000
TARGET_P95_MS = 200.0
TARGET_ERROR_SHARE = 0.001
TARGET_HIT_RATIO = 0.8
TARGET_QUERY_P95_MS = 100.0
_BATCH = 1000
_SAMPLE_S = 5.0


def run(connections: int = CONNECTIONS, per_s: int = PER_S, duration_s: float = DURATION_S) -> dict[str, Any]:
    """Measure, print a table, and return the figures. Works on a database of its own, dropped at the end."""
    with scratch("redis") as settings, serving(settings) as url:
        for table in settings.registry.values():
            roll_table(settings, table, utc_today())
        key = create_key(settings, "bench", CLIENT_SCOPES)
        watcher = create_key(settings, "bench", [Scope.MONITORING_READ])
        plan = LoadPlan(
            url=url,
            key=key,
            connections=connections,
            per_s=per_s,
            duration_s=duration_s,
            read_share=READ_SHARE,
            zipf=ZIPF,
            ids=_rows(url, key),
        )
        samples = Samples(settings)
        with samples.taken():
            load = _run_load(plan)
        monitoring = _monitoring(url, watcher)
    result = {"name": "serving", "zipf": ZIPF, "ids": IDS, **load, **samples.summary(), **monitoring}
    result["passed"] = _passed(result, connections)
    _show(result)
    return result


def _rows(url: str, key: str) -> list[str]:
    """The ids of fresh rows to read."""
    item = {"user_id": "u-1", "wallet_id": "w-1", "type": "payment", "amount": "120.50", "currency": "ZAR"}
    item |= {"status": "completed"}  # as most rows that are read are: a row that may still change is kept for less time
    ids: list[str] = []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for number in range(IDS // _BATCH):
            answer = client.post(
                "/api/v1/transactions/batch",
                json={"items": [item] * _BATCH},
                headers={"Idempotency-Key": f"rows-{number}"},
            )
            ids += [result["id"] for result in answer.raise_for_status().json()["results"]]
    return ids


def _run_load(plan: LoadPlan) -> dict[str, Any]:
    argv = [sys.executable, "-m", "bench.load.mixed"]
    request = json.dumps(asdict(plan))
    done = subprocess.run(argv, input=request, capture_output=True, text=True, cwd=PROJECT, check=True)  # noqa: S603
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _monitoring(url: str, key: str) -> dict[str, Any]:
    """Return what the API says of itself: cache hits and the times of its queries."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        cache = client.get("/api/v1/monitoring/cache")
        performance = client.get("/api/v1/monitoring/performance")
    return {"cache": cache.json(), "performance": performance.json()}


class Samples:
    """The memory of the API's processes and its connections to PostgreSQL, every few seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self.memory_mb: list[float] = []
        self.connections: list[int] = []

    def taken(self) -> "Samples":
        """For a `with` block: samples are taken while it runs."""
        return self

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._settings.database_dsn, autocommit=True) as connection:
            while not self._stop.wait(_SAMPLE_S):
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'treasury api'"
                ).fetchone()
                self.connections.append(row[0] if row else 0)
                self.memory_mb.append(_memory_mb(self._settings.home))

    def summary(self) -> dict[str, Any]:
        """The samples; of memory also the first, the middle and the last."""
        picked = [0, len(self.memory_mb) // 2, -1] if self.memory_mb else []
        return {
            "memory_mb": [round(self.memory_mb[place], 1) for place in picked],
            "memory_samples_mb": [round(memory, 1) for memory in self.memory_mb],
            "connection_samples": self.connections,
            "database_connections": [min(self.connections, default=0), max(self.connections, default=0)],
        }


def _memory_mb(home: Path) -> float:
    """Resident memory of every process of the API, found by the home in its environment."""
    total_kb = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            names = (b"api.server.app", b"api.serve", b"multiprocessing.spawn")
            if not any(name in command for name in names):
                continue
            if str(home).encode() not in (folder / "environ").read_bytes():
                continue
            status = (folder / "status").read_text()
        except OSError:  # it has just ended
            continue
        total_kb += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return total_kb / 1024


def _passed(result: dict[str, Any], connections: int) -> bool:
    return bool(
        result["connections"] == connections
        and result["all_ms"]["p95"] < TARGET_P95_MS
        and result["error_share"] < TARGET_ERROR_SHARE
        and result["cache"]["layers"][0]["hit_ratio"] >= TARGET_HIT_RATIO
        and result["performance"]["query_time"]["p95_ms"] < TARGET_QUERY_P95_MS
    )


def _show(result: dict[str, Any]) -> None:
    title = f"{result['answers_per_s']:,} answers/s over {result['connections']:,} connections"
    table = Table("", "p50 ms", "p95 ms", "p99 ms", "max ms", title=title, title_justify="left")
    for name in ("all", "read", "write"):
        figures = result[f"{name}_ms"]
        table.add_row(name, *(str(figures[place]) for place in ("p50", "p95", "p99", "max")))
    Console().print(table)
    Console().print(
        f"errors {result['errors']:,} of {result['requests']:,}; memory {result['memory_mb']} MB; "
        f"database connections {result['database_connections']}"
    )
