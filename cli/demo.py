"""`treasury demo`: three years of months from the first request to the archive, with every server for real."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli import terminal
from cli.archive import enter_prefect, human_bytes, show_tiers
from config import Settings, load_settings
from config.settings import LOGINS, Ports
from ledger.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tasks.tiers import TierRow

MONTHS = 36
CLIENT = "demo"
SINGLE_POSTS = 100
BATCH_ROWS = 200
DEPLOYMENT = "run-archiving-operations/run-archiving-operations"
FLOW_TIMEOUT_S = 900
POLL_S = 1.0
PROGRESS_KEY = "archive-progress"
AUDITORS_QUESTION = """
    SELECT tier, count(DISTINCT month) AS months, min(month) AS first, max(month) AS last,
           count(*) AS withdrawals, sum(amount) AS total, sum(fee) AS fees
    FROM transactions
    WHERE type = 'withdraw' AND status = 'completed' AND currency = 'ZAR'
    GROUP BY tier
    ORDER BY min(month)
"""


@dataclass
class _Watch:
    """How long each step took, in the order they ended."""

    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block as a step."""
        terminal.console.rule(name, align="left")
        started = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - started))


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(demo)


def demo(
    rows_per_month: Annotated[int, typer.Option(min=1, help="Transactions in a month")] = 10_000,
    vas_rows_per_month: Annotated[int, typer.Option(min=1, help="VAS transactions in a month")] = 4_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same rows")] = 1,
) -> None:
    """Fill three years of months, post some over HTTP, archive them through Prefect, and show the result.

    Runs in a home of its own (`<home>/demo`) with servers of its own, and stops them at the end. Safe to run again.
    """
    from cli import demo_suppliers  # noqa: PLC0415
    from servers import stack  # noqa: PLC0415  # the command line must answer --help at once
    from tasks.calendar import utc_today  # noqa: PLC0415
    from tasks.setup import open_for  # noqa: PLC0415

    settings = _own_settings(load_settings())
    watch, keys = _Watch(), list[str]()
    started = time.monotonic()
    with ExitStack() as servers:
        with watch.step("Start PostgreSQL, Redis, S3, the suppliers' simulators, Prefect, a worker and the API"):
            terminal.console.print("the first start takes up to a minute")
            up = servers.enter_context(stack.everything(settings, lambda ready: keys.append(open_for(ready, CLIENT))))
        ready = up.settings
        today = utc_today()
        with watch.step(f"Generate {MONTHS} months"):
            _generate(ready, rows_per_month, vas_rows_per_month, seed, today)
        with watch.step("Post over HTTP"):
            _post(_api_url(up.endpoints), keys[0], seed)
        with watch.step("Sell through the suppliers' simulators, and close the day against their statements"):
            demo_suppliers.sell(_api_url(up.endpoints), keys[0])
            demo_suppliers.close_day(ready, ready.home / "statements")
        with watch.step("Archive through Prefect"):
            _archive(ready)
        with watch.step("Months and tiers"):
            rows = _show_result(ready)
        with watch.step("An auditor's question over every tier"):
            _ask(ready)
    _show_summary(rows, watch, time.monotonic() - started)
    terminal.console.print(
        f"It is all kept. To look at it: TREASURY_HOME={settings.home} make up", markup=False, soft_wrap=True
    )


def _own_settings(settings: Settings) -> Settings:
    for name in (*LOGINS, "archive_url", "redis_url", "prefect_api_url"):
        if getattr(settings, name) is not None:
            raise ConfigError(f"TREASURY_{name.upper()} is set: the demo makes up rows and must not reach real servers")
    ports = Ports(postgres=0, redis=0, s3=0, prefect=0, api=0, suppliers=0)
    return settings.model_copy(update={"home": settings.home / "demo", "ports": ports})


def _api_url(endpoints: Any) -> str:
    return str(next(endpoint.url for endpoint in endpoints if endpoint.name == "api"))


def _generate(settings: Settings, rows: int, vas_rows: int, seed: int, today: date) -> None:
    from tasks.generate import GenerateParameters, generate  # noqa: PLC0415

    # They end a day early: of today, in Johannesburg too, there is only what was really sold.
    until = today - timedelta(days=1)
    parameters = GenerateParameters(
        months=MONTHS, rows_per_month=rows, vas_rows_per_month=vas_rows, until=until, seed=seed
    )
    with _bar("rows") as show:
        made = generate(settings, parameters, show)
    kept = sum(1 for month in made if month.skipped)
    terminal.console.print(f"{sum(month.rows for month in made):,} rows made; {kept} months had theirs already")


@contextmanager
def _bar(unit: str) -> Iterator[Callable[[float, float], None]]:
    columns = (TextColumn(unit), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal.console) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _post(api_url: str, key: str, seed: int) -> None:
    """Post as a client would: single transactions with idempotency keys, one of them twice, and a batch; read back."""
    import httpx  # noqa: PLC0415

    chance = random.Random(f"{seed}-{time.time_ns()}")  # noqa: S311  # made-up rows, no secrets
    run = f"demo-{time.time_ns()}"
    with httpx.Client(base_url=api_url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        sent = [_send(client, f"{run}-{number}", _transaction(chance)) for number in range(SINGLE_POSTS)]
        body, row_id = sent[0]
        again = client.post("/api/v1/transactions", json=body, headers={"Idempotency-Key": f"{run}-0"})
        batch = client.post(
            "/api/v1/transactions/batch",
            json={"items": [_transaction(chance) for _ in range(BATCH_ROWS)]},
            headers={"Idempotency-Key": f"{run}-batch"},
        )
        _check(batch)
        if again.json()["id"] != row_id:
            raise DataError("the same idempotency key made two rows")
        read = client.get(f"/api/v1/transactions/{row_id}")
        _check(read)
    terminal.console.print(
        f"{SINGLE_POSTS} single posts and a batch of {BATCH_ROWS} are committed; a repeated one made no second row"
    )


def _send(client: Any, key: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    answer = client.post("/api/v1/transactions", json=body, headers={"Idempotency-Key": key})
    _check(answer)
    return body, str(answer.json()["id"])


def _check(answer: Any) -> None:
    if answer.is_error:
        raise DataError(f"the API answered {answer.status_code}: {answer.text}")


def _transaction(chance: random.Random) -> dict[str, Any]:
    cents = chance.randint(100, 250_000)
    return {
        "user_id": f"user-{chance.randrange(500):05d}",
        "wallet_id": f"wallet-{chance.randrange(500):05d}",
        "type": "payment",
        "status": "completed",
        "amount": f"{cents // 100}.{cents % 100:02d}",
        "currency": "ZAR",
        "reference": f"DEMO-{chance.getrandbits(40):010x}",
        "metadata": {"channel": "demo"},
    }


def _archive(settings: Settings) -> None:
    """Trigger the nightly deployment as the UI would, and follow the run until the worker has ended it."""
    enter_prefect(settings)
    from prefect.client.orchestration import get_client  # noqa: PLC0415  # Prefect reads its settings when imported
    from prefect.deployments import run_deployment  # noqa: PLC0415

    flow_run: Any = run_deployment(DEPLOYMENT, timeout=0)
    terminal.console.print(f"flow run {flow_run.name}, started as the UI would start it")
    deadline = time.monotonic() + FLOW_TIMEOUT_S
    with get_client(sync_client=True) as client, _bar("months") as show:
        while not (state := client.read_flow_run(flow_run.id).state) or not state.is_final():
            if time.monotonic() > deadline:
                raise DataError(f"flow run {flow_run.name} did not end within {FLOW_TIMEOUT_S} s")
            show(_percent_done(client), 100.0)
            time.sleep(POLL_S)
        show(100.0, 100.0)
    if not state.is_completed():
        raise DataError(f"flow run {flow_run.name} ended as {state.name}: {state.message}")


def _percent_done(client: Any) -> float:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey  # noqa: PLC0415
    from prefect.client.schemas.sorting import ArtifactSort  # noqa: PLC0415

    newest = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[PROGRESS_KEY])),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    return float(newest[0].data) if newest else 0.0


def _show_result(settings: Settings) -> list["TierRow"]:
    from tasks.tiers import tier_rows  # noqa: PLC0415

    rows = [row for row in tier_rows(settings, list(settings.registry.values())) if row.rows]
    show_tiers(rows)
    archived = [row for row in rows if row.digest]
    terminal.console.print(
        f"{len(archived)} months are in the archive. For each, the object was read back from the store, and its count,"
        " sums and SHA-256 Merkle root were found equal to PostgreSQL's before the partition was dropped."
    )
    return rows


def _ask(settings: Settings) -> None:
    from cli.answers import write_answer  # noqa: PLC0415
    from tasks.query import run_query  # noqa: PLC0415

    terminal.console.print(AUDITORS_QUESTION.strip("\n"), markup=False)
    with run_query(settings, AUDITORS_QUESTION) as answer:
        write_answer(answer, "table", None)


def _show_summary(rows: list["TierRow"], watch: _Watch, total_s: float) -> None:
    archived = [row for row in rows if row.digest]
    before = sum(row.postgres_bytes for row in archived)
    after = sum(row.bytes for row in archived)
    terminal.table("Steps", ("step", "seconds"), [(name, f"{spent:.1f}") for name, spent in watch.steps])
    if before:
        terminal.console.print(
            f"storage: {human_bytes(before)} of PostgreSQL are {human_bytes(after)} of Parquet "
            f"({100 * after / before:.1f} %); {total_s:.0f} s in all"
        )
