"""The checks of everything that is not PostgreSQL: Redis, the object store, Prefect, the disks."""

import secrets
import shutil
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError
from tasks.admin.processes import ProcessState, reports
from tasks.health.context import Context
from tasks.health.result import HealthState, Measure
from tasks.prefect.access import PrefectAccess

_REDIS_TIMEOUT_S = 2.0
_KEY_LIFE_S = 30
_STORE_TIMEOUT_S = 3.0
_PREFECT_TIMEOUT_S = 3.0
_NOT_ENDED = ["SCHEDULED", "PENDING", "RUNNING"]  # types of states, by Prefect's names
_CANARY_BYTES = 64
UNAUTHORIZED = 401
_SWEPT_AT_ONCE = 20
_LEFTOVER_AGE_S = 60.0
CANARY_PREFIX = "health"


def redis(context: Context) -> Measure:
    """Redis takes a key, gives it back and deletes it."""
    from redis import Redis  # noqa: PLC0415  # a check imports its client in its own thread: `treasury health` is short
    from redis.exceptions import RedisError  # noqa: PLC0415

    if context.settings.redis_url is None:
        raise ConfigError("TREASURY_REDIS_URL is not set and no embedded Redis runs")
    key, content = f"{context.settings.redis_prefix}health:{uuid4().hex}", secrets.token_bytes(_CANARY_BYTES)
    started = time.monotonic()
    try:
        with Redis.from_url(
            context.settings.redis_url.get_secret_value(),
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
            retry=None,
        ) as client:
            client.set(key, content, ex=_KEY_LIFE_S)
            answer = client.get(key)
            client.delete(key)
    except (RedisError, OSError) as error:
        raise TransientError(f"Redis: {type(error).__name__}") from error
    took_ms = round((time.monotonic() - started) * 1000)
    if answer != content:
        return Measure("Redis did not give back what was written to it", took_ms, HealthState.CRITICAL)
    return Measure(f"Redis wrote, read and deleted a key in {took_ms} ms", took_ms)


def object_store(context: Context) -> Measure:
    """The object store takes an object, gives the same bytes back and deletes it, under a prefix of its own."""
    from storage.store import ObjectStore  # noqa: PLC0415  # slow to import

    store = ObjectStore(context.settings.model_copy(update={"store_timeout_s": _STORE_TIMEOUT_S}))
    notes = context.settings.home / "health" / "canaries"
    notes.mkdir(parents=True, exist_ok=True)
    _sweep(store, notes)
    name, content = f"{uuid4().hex}.canary", secrets.token_bytes(_CANARY_BYTES)
    started = time.monotonic()
    (notes / name).touch()  # before the first byte: a run that is killed leaves a note of what it left
    store.put_bytes(content, _canary(name))
    answer = store.read_bytes(_canary(name))
    _remove(store, notes / name)
    took_ms = round((time.monotonic() - started) * 1000)
    if answer != content:
        raise DataError("the object store gave other bytes back than it was given")
    return Measure(f"the object store wrote, read and deleted an object in {took_ms} ms", took_ms)


def _canary(name: str) -> str:
    return f"{CANARY_PREFIX}/{name}"


def _sweep(store: Any, notes: Path) -> None:
    """Delete what earlier runs could not: killed, or cut off from the store."""
    for note in sorted(notes.glob("*.canary"))[:_SWEPT_AT_ONCE]:
        if time.time() - note.stat().st_mtime > _LEFTOVER_AGE_S:
            _remove(store, note)


def _remove(store: Any, note: Path) -> None:
    store.remove(_canary(note.name))
    note.unlink(missing_ok=True)


def prefect_runs(context: Context) -> Measure:
    """The Prefect server answers, its runs start on time, and what has a schedule has runs ahead: none is late where
    none is made.
    """
    with prefect_client(context.settings) as client:
        late = int(ask_prefect(client, "/flow_runs/count", {"flow_runs": {"state": {"name": {"any_": ["Late"]}}}}))
        ahead = int(ask_prefect(client, "/flow_runs/count", {"flow_runs": {"state": {"type": {"any_": _NOT_ENDED}}}}))
        scheduled = [
            deployment for deployment in ask_prefect(client, "/deployments/filter", {}) if _has_schedule(deployment)
        ]
    if scheduled and not ahead:
        unplanned = f"{len(scheduled)} deployments have a schedule and none has a run ahead: nothing will start"
        return Measure(unplanned, late, HealthState.WARNING)
    return Measure(f"{late} flow runs are late" if late else "Prefect answers and no flow run is late", late)


def _has_schedule(deployment: dict[str, Any]) -> bool:
    return not deployment.get("paused") and any(
        schedule.get("active") for schedule in deployment.get("schedules") or ()
    )


def prefect_workers(context: Context) -> Measure:
    """Somebody takes the runs of the pool: a worker whose heartbeats the server has."""
    from tasks.prefect.deployments import POOL  # noqa: PLC0415

    with prefect_client(context.settings) as client:
        pool = ask_prefect(client, f"/work_pools/{POOL}", None)
        workers = ask_prefect(client, f"/work_pools/{POOL}/workers/filter", {})
    online = [worker for worker in workers if worker.get("status") == "ONLINE"]
    if pool.get("is_paused"):
        return Measure(f"the work pool {POOL} is paused: nothing starts", len(online), HealthState.CRITICAL)
    return Measure(f"{len(online)} workers of the pool {POOL} are online", len(online))


def prefect_client(settings: Settings) -> httpx.Client:
    access = PrefectAccess.of(settings)
    return httpx.Client(base_url=access.api_url, timeout=_PREFECT_TIMEOUT_S, headers=access.headers())


def ask_prefect(client: httpx.Client, path: str, body: object | None) -> Any:
    """GET, or POST of ``body``. Raises TransientError when no good answer comes, ConfigError for a missing pool."""
    try:
        answer = client.get(path) if body is None else client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()
    except httpx.HTTPStatusError as error:
        if error.response.status_code == UNAUTHORIZED:
            raise ConfigError("Prefect refuses the login: set TREASURY_PREFECT_API_AUTH_STRING to its own") from error
        raise ConfigError(f"Prefect answered {error.response.status_code} to {path}") from error
    except (httpx.HTTPError, ValueError) as error:
        raise TransientError(f"Prefect: {type(error).__name__}") from error


def processes(context: Context) -> Measure:
    """The processes of the `treasury up` of this home run, and none has ended within the last minutes."""
    known = reports(context.settings.home)
    if known is None:
        return Measure("no `treasury up` runs in this home", 0, HealthState.HEALTHY)
    away = [report.text or name for name, report in known.items() if report.state is not ProcessState.RUNNING]
    if away:
        down = any(report.state is ProcessState.DOWN for report in known.values())
        return Measure("; ".join(away), len(away), HealthState.CRITICAL if down else HealthState.WARNING)
    again = [f"{name} {len(report.ends)} times" for name, report in known.items() if report.ends]
    if again:
        return Measure(f"ended by themselves and were started again: {', '.join(again)}", 0, HealthState.WARNING)
    return Measure(f"{len(known)} processes of `treasury up` run", 0, HealthState.HEALTHY)


def disk(context: Context) -> Measure:
    """Free space of the disks that the home and the spool are on; the fuller one counts."""
    free_by_name = {}
    for name, folder in (("home", context.settings.home), ("spool", context.settings.spool)):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        usage = shutil.disk_usage(there)
        free_by_name[name] = (100 * usage.free / usage.total, usage.free)
    name, (percent, free) = min(free_by_name.items(), key=lambda item: item[1])
    return Measure(f"{percent:.0f} % free ({free / (1 << 30):.1f} GiB) on the disk of the {name}", percent)
