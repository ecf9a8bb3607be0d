"""`treasury demo`: three years of months, from the first request to the archive, on real servers."""

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli import demo_retention, demo_suppliers, terminal
from cli.answers import write_answer
from cli.archive import enter_prefect
from cli.tier_table import show_tiers
from config import Settings, load_settings
from config.settings import LOGINS, Ports
from ledger.errors import ConfigError, DataError
from ledger.proof_files import check_proof
from ledger.sizes import human_bytes
from ledger.transparency.policies import LogPolicy
from servers import stack
from sql.connection import connect
from tasks.admin.session_key import kept_valid
from tasks.admin.setup import open_for
from tasks.archiving.calendar import utc_today
from tasks.archiving.catalogue import month_states
from tasks.archiving.tiers import TierRow, tier_rows
from tasks.proving.proofs import Prover
from tasks.querying.query import run_query
from tasks.synthetic.generate import GenerateParameters, generate
from tasks.transparency.report import policy_text

MONTHS = 36
CLIENT = "demo"
SINGLE_POSTS = 100
BATCH_ROWS = 200
DEPLOYMENT = "run-archiving-operations/run-archiving-operations"
FLOW_TIMEOUT_S = 900
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
    """The duration of each step, in the order of their ends."""

    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block as a step."""
        terminal.console.rule(name, align="left")
        started = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - started))


def demo(
    rows_per_month: Annotated[int, typer.Option(min=1, help="Transactions per month")] = 10_000,
    vas_rows_per_month: Annotated[int, typer.Option(min=1, help="VAS transactions per month")] = 4_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows")] = 1,
) -> None:
    """Show the whole product on three years of generated months. Safe to run again.

    Posts transactions over HTTP, buys from the supplier simulators, reconciles the day, archives the months through
    Prefect, and queries all tiers. Uses its own home (`<home>/demo`) and its own servers, and stops them at the end.
    """
    settings = _own_settings(load_settings())
    watch, keys = _Watch(), list[str]()
    started = time.monotonic()
    with ExitStack() as servers:
        with watch.step("Start PostgreSQL, Redis, S3, the supplier simulators, Prefect, a worker and the API"):
            terminal.console.print("the first start takes up to a minute")
            up = servers.enter_context(
                stack.everything(settings, lambda ready: keys.append(open_for(ready, CLIENT).key))
            )
        ready = up.settings
        servers.enter_context(kept_valid(ready, keys[0]))
        today = utc_today()
        with watch.step(f"Generate {MONTHS} months"):
            _generate(ready, rows_per_month, vas_rows_per_month, seed, today)
        with watch.step("Post over HTTP"):
            _post(_api_url(up.endpoints), keys[0], seed)
        with watch.step("Buy from the supplier simulators, and reconcile the day with their statements"):
            demo_suppliers.sell(_api_url(up.endpoints), keys[0])
            demo_suppliers.close_day(ready, ready.home / "statements")
        with watch.step("Archive through Prefect"):
            _archive(ready)
        with watch.step("Months and tiers"):
            rows = _show_result(ready)
        with watch.step("An auditor's query over all tiers"):
            _ask(ready)
        with watch.step("Prove an archived row to an outsider"):
            _prove(ready)
        with watch.step("Delete a month of ten years ago with a certificate, and keep the one that is held"):
            demo_retention.end_of_life(ready, seed)
    _show_summary(rows, watch, time.monotonic() - started)
    terminal.console.print(
        f"Everything is kept. To look at it: TREASURY_HOME={settings.home} make up", markup=False, soft_wrap=True
    )
    terminal.note(f"in a second terminal, commands need the same: export TREASURY_HOME={settings.home}")


def _own_settings(settings: Settings) -> Settings:
    for name in (*LOGINS, "archive_url", "redis_url", "prefect_api_url"):
        if getattr(settings, name) is not None:
            raise ConfigError(
                f"TREASURY_{name.upper()} is set: the demo generates rows and must not reach real servers; unset it"
            )
    ports = Ports(postgres=0, redis=0, s3=0, prefect=0, api=0, suppliers=0)
    return settings.model_copy(update={"home": settings.home / "demo", "ports": ports})


def _api_url(endpoints: Any) -> str:
    return str(next(endpoint.url for endpoint in endpoints if endpoint.name == "api"))


def _generate(settings: Settings, rows: int, vas_rows: int, seed: int, today: date) -> None:
    # The months end a day early, so that today, in Johannesburg too, has only the rows that were really sold.
    until = today - timedelta(days=1)
    parameters = GenerateParameters(
        months=MONTHS, rows_per_month=rows, vas_rows_per_month=vas_rows, until=until, seed=seed
    )
    with _bar("rows") as show:
        months = generate(settings, parameters, show)
    kept = sum(1 for month in months if month.skipped)
    terminal.console.print(f"{sum(month.rows for month in months):,} rows generated; {kept} months had rows already")


@contextmanager
def _bar(unit: str) -> Iterator[Callable[[float, float], None]]:
    columns = (TextColumn(unit), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal.console) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _post(api_url: str, key: str, seed: int) -> None:
    """Post as a client does: single transactions with idempotency keys, one of them twice, and a batch."""
    chance = random.Random(f"{seed}-{time.time_ns()}")  # noqa: S311  # generated rows, no secrets
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
        f"{SINGLE_POSTS} single posts and a batch of {BATCH_ROWS} are committed; a repeated post made no second row"
    )


def _send(client: httpx.Client, key: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    answer = client.post("/api/v1/transactions", json=body, headers={"Idempotency-Key": key})
    _check(answer)
    return body, str(answer.json()["id"])


def _check(answer: httpx.Response) -> None:
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
    """Start the nightly deployment as the UI does, and follow the run until the worker has finished it."""
    enter_prefect(settings)
    from cli import flow_runs  # noqa: PLC0415  # Prefect reads its settings when it is imported

    flow_run = flow_runs.start(DEPLOYMENT)
    terminal.console.print(f"flow run {flow_run.name}, started as the UI starts it")
    with _bar("months") as show:
        flow_runs.follow(flow_run, FLOW_TIMEOUT_S, lambda percent: show(percent, 100.0))


def _show_result(settings: Settings) -> list[TierRow]:
    rows = [row for row in tier_rows(settings, list(settings.registry.values())) if row.rows]
    show_tiers(rows, every_month=True)
    archived = [row for row in rows if row.digest]
    terminal.console.print(
        f"{len(archived)} months are in the archive. Each object was read back from the store. Its count, sums and"
        " SHA-256 Merkle root were equal to PostgreSQL's before the partition was dropped."
    )
    return rows


def _ask(settings: Settings) -> None:
    terminal.console.print(AUDITORS_QUESTION.strip("\n"), markup=False)
    with run_query(settings, AUDITORS_QUESTION) as answer:
        write_answer(answer, "table", None)


def _prove(settings: Settings) -> None:
    """Make the proof file of a row of an archived month, and check it with the file and the policy alone."""
    table = settings.table("transactions")
    with connect(settings.database_dsn, "demo") as connection:
        month = next(state.month for state in month_states(connection, table) if state.is_archived)
    query = f"SELECT id FROM transactions_archive_cold WHERE month = '{month}' ORDER BY created_at, id LIMIT 1"  # noqa: S608  # a Month
    with run_query(settings, query) as answer:
        (row,) = answer.batches.read_all().to_pylist()
    with Prover(settings) as prover:
        file = prover.row(table, row["id"])
    policy = policy_text(settings)
    checked = check_proof(file.content, LogPolicy.parse(policy.encode()))
    folder = settings.home / "proof"
    folder.mkdir(exist_ok=True)
    (folder / "policy").write_text(policy)
    (folder / "row.tlog-proof").write_bytes(file.content)
    log = checked.checkpoint
    terminal.console.print(
        f"proved with {len(file.content):,} bytes and without a database: {checked.proved.sentence} "
        f"({checked.archived.table} {checked.archived.month}), by entry {checked.index} of a signed log of {log.size}"
    )
    terminal.console.print(
        f"again: {_program()} check-proof {folder / 'row.tlog-proof'} --policy {folder / 'policy'}",
        markup=False,
        soft_wrap=True,
    )


def _program() -> str:
    """The program as the user called it: `.venv/bin/treasury` under make."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "treasury" else "treasury"


def _show_summary(rows: list[TierRow], watch: _Watch, total_s: float) -> None:
    archived = [row for row in rows if row.digest]
    before = sum(row.postgres_bytes for row in archived)
    after = sum(row.bytes for row in archived)
    terminal.table("Steps", ("step", "seconds"), [(name, f"{spent:.1f}") for name, spent in watch.steps])
    if before:
        terminal.console.print(
            f"storage: {human_bytes(before)} in PostgreSQL became {human_bytes(after)} of Parquet "
            f"({100 * after / before:.1f} %); total time {total_s:.0f} s"
        )
