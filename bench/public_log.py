"""The cost of the public log: publishing one event, on S3 and in a folder, and looking when there is nothing to do."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from s3fs import S3FileSystem

from bench.scratch import scratch
from config import Settings
from ledger.month_tree import DIGEST_METHOD
from ledger.transparency.events import Archived, LoggedManifest, LoggedObject, LoggedTree
from sql.connection import connect
from sql.log import record_event
from tasks.archiving.ownership import check_ownership
from tasks.transparency.publish import publish_log

_BEFORE = 500  # events that are in the log already: about two and a half years of two tables
_ROUNDS = 20
_SHA = "ab" * 32


def run() -> dict[str, Any]:
    """Measure, show and return the figures: medians of twenty publications of one event each."""
    with scratch("s3") as settings:
        folder = settings.model_copy(update={"archive_url": f"file://{settings.home / 'archive'}"})
        result: dict[str, Any] = {"name": "public_log", "events_before": _BEFORE}
        for name, store in (("s3", settings), ("folder", folder)):
            if name == "folder":
                _forget(settings)
            result |= {f"{name}_{what}": value for what, value in _measure(store).items()}
    for name in ("s3", "folder"):
        publish_ms, idle_ms = result[f"{name}_publish_ms"], result[f"{name}_idle_ms"]
        print(f"{name:6}  one event {publish_ms:7.1f} ms  nothing to do {idle_ms:6.1f} ms")
    print(f"requests to S3: {result['s3_publish_requests']} for one event, {result['s3_idle_requests']} for none")
    return result


def _measure(settings: Settings) -> dict[str, float]:
    with connect(settings.database_dsn, "bench") as connection:
        owner = check_ownership(connection, settings)
        for number in range(_BEFORE):
            record_event(connection, owner, _event(number))
        publish_log(settings)
        times_ms, requests = [], []
        for number in range(_ROUNDS):
            record_event(connection, owner, _event(_BEFORE + number))
            took_ms, made = _counted(lambda: publish_log(settings))
            times_ms.append(took_ms)
            requests.append(made)
    idle = [_counted(lambda: publish_log(settings)) for _ in range(_ROUNDS)]
    return {
        "publish_ms": round(statistics.median(times_ms), 1),
        "publish_requests": statistics.median(requests),
        "idle_ms": round(statistics.median(took_ms for took_ms, _ in idle), 1),
        "idle_requests": statistics.median(made for _, made in idle),
    }


def _counted(work: Callable[[], object]) -> tuple[float, int]:
    """Return how long ``work`` takes in ms, and how many requests it makes to S3."""
    real, made = S3FileSystem._call_s3, [0]  # noqa: SLF001  # the one place that every request passes

    async def counting(self: Any, *arguments: Any, **options: Any) -> Any:
        made[0] += 1
        return await real(self, *arguments, **options)

    S3FileSystem._call_s3 = counting  # noqa: SLF001
    try:
        started_s = time.perf_counter()
        work()
        return (time.perf_counter() - started_s) * 1000, made[0]
    finally:
        S3FileSystem._call_s3 = real  # noqa: SLF001


def _forget(settings: Settings) -> None:
    """Make the database one that has archived nothing."""
    with connect(settings.database_dsn, "bench") as connection:
        connection.execute("DELETE FROM installation")


def _event(number: int) -> Archived:
    table, month = ("transactions", "vas_transactions")[number % 2], f"{2000 + number // 24}-{number // 2 % 12 + 1:02d}"
    key = f"{table}/month={month}/{_SHA[:32]}-21127f18-1-deadbeef"
    return Archived(
        table=table,
        month=month,
        part=1,
        manifest=LoggedManifest(key=f"{key}.manifest.json", sha256=_SHA),
        objects=(LoggedObject(key=f"{key}.parquet", size_bytes=10**8, sha256=_SHA),),
        tree=LoggedTree(method=DIGEST_METHOD, size=10**6, root=_SHA),
        layout={"columns": [[number, "counterparty_wallet_id", "text"] for number in range(15)]},
        rows=10**6,
        sums={"ZAR": {"amount": "123456789.00", "fee": "12345.00"}},
    )
