"""A PostgreSQL, a Redis and an API of one's own, as processes that a test may kill; clients that keep on posting."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
from pydantic import SecretStr

from config import Settings, load_settings
from ledger.scopes import CLIENT_SCOPES
from servers import ports
from servers.lease import Server
from servers.postgres import Postgres
from servers.process import Launch
from servers.redis import Redis
from sql import migrate
from tasks.admin.keys import create_key
from tests.api.conftest import with_partitions
from tests.api.ledger_rows import BODY
from tests.conftest import PG_BIN

PATH = "/api/v1/transactions"
START_S = 60.0
CLIENTS = 8


def children(parent: int) -> list[int]:
    """The processes that ``parent`` has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


class Killable:
    """A server of this project that runs without a keeper, always at the same port."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._launch: Launch = server.prepare()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return self._launch.url

    def start(self) -> None:
        """Start it and wait until it answers, however it ended before."""
        deadline_s = time.monotonic() + START_S
        while True:
            account = self._launch.account
            self._process = subprocess.Popen(
                self._launch.argv,
                env=dict(self._launch.env),
                cwd=self._launch.cwd,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            while self._process.poll() is None and time.monotonic() < deadline_s:
                if self._server.answers(self.url):
                    return
                time.sleep(0.02)
            assert time.monotonic() < deadline_s, f"{self._launch.name} did not start"

    def kill(self) -> None:
        """SIGKILL to it and to every process of it: nothing is tidied up."""
        assert self._process is not None
        family = [self._process.pid, *children(self._process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(START_S)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It and every process of it is stopped for the length of the block: connections stay, nothing is answered."""
        assert self._process is not None
        family = [self._process.pid, *children(self._process.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in family:
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it as an administrator would."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(self._launch.stop_signal)
            self._process.wait(START_S)


class Api:
    """The API as it is started in production, always at the same port."""

    def __init__(self, settings: Settings) -> None:
        port = ports.choose(0)
        self.url = f"http://{ports.HOST}:{port}"
        self._environment = {**os.environ, **settings.environment()}
        self._argv = [sys.executable, "-m", "api.serve", "--port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of its supervisor."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._process = subprocess.Popen(
            self._argv, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_until_ready(self.url)
        assert self._process.poll() is None, "the API ended: what answers is another one"

    def kill(self) -> None:
        """SIGKILL to all of it. The supervisor stands still before its processes are looked for: one that it started
        a moment later would outlive it, keep the port, and answer for the next one.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        family = children(self.pid)
        self._process.kill()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(START_S)

    def kill_supervisor(self) -> None:
        """SIGKILL to the supervisor alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(START_S)

    def answers(self) -> bool:
        """Whether anything answers at its port."""
        try:
            return httpx.get(f"{self.url}/health/live", timeout=5).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it as an administrator would."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(START_S)


@dataclass
class Load:
    """Clients that store row after row, and repeat a request under its key until it is answered.

    The reference of a row is its key: a row stored twice shows.
    """

    url: str
    headers: dict[str, str]
    acknowledged: dict[str, str] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    interrupted: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def _post_for_ever(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)  # each request may meet another process
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=30, limits=limits) as client:
            while not self._stop.is_set():
                key = uuid4().hex
                while not self._posted(client, key) and not self._stop.is_set():
                    time.sleep(0.02)

    def _posted(self, client: httpx.Client, key: str) -> bool:
        try:
            response = client.post(PATH, json={**BODY, "reference": key}, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            self.interrupted += 1
            return False
        if response.status_code == 201:
            self.acknowledged[key] = response.json()["id"]
            return True
        if response.status_code not in (409, 503):
            self.unexpected.append(f"{response.status_code} {response.text}")
        self.interrupted += 1
        return False

    def wait_for(self, more: int) -> None:
        """Wait until ``more`` further rows were acknowledged."""
        wanted, deadline_s = len(self.acknowledged) + more, time.monotonic() + START_S
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline_s, f"nothing is stored any more; {self.unexpected[-3:]}"
            time.sleep(0.01)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """The clients post for the length of the block."""
        threads = [threading.Thread(target=self._post_for_ever, name=f"client {n}") for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that can be killed."""

    settings: Settings
    postgres: Killable
    redis: Killable
    api: "Api"
    url: str
    headers: dict[str, str]

    def load(self) -> Load:
        """Clients of it."""
        return Load(self.url, self.headers)

    def kill_a_worker(self, chance: random.Random) -> None:
        """SIGKILL to one of the API's processes; its supervisor starts another."""
        os.kill(chance.choice(self._workers()), signal.SIGKILL)

    def kill_the_api(self, _: random.Random) -> None:
        """SIGKILL to the API, its supervisor and all of its processes, and start it again."""
        self._workers()
        self.api.kill()
        self.api.start()

    def kill_the_supervisor(self) -> None:
        """SIGKILL to the API's supervisor while its processes serve."""
        self._workers()
        self.api.kill_supervisor()

    def _workers(self) -> list[int]:
        """The processes that serve; waits for one, because the last blow may have ended them all."""
        deadline_s = time.monotonic() + START_S
        while not (found := [pid for pid in children(self.api.pid) if b"spawn_main" in _command_line(pid)]):
            assert time.monotonic() < deadline_s, "no process of the API was found: the blow would hit nothing"
            time.sleep(0.02)
        return found

    def kill_postgres(self, _: random.Random) -> None:
        """SIGKILL to PostgreSQL, and start it again."""
        self.postgres.kill()
        self.postgres.start()

    def restart_postgres(self, _: random.Random) -> None:
        """Stop PostgreSQL in order, and start it again."""
        self.postgres.stop()
        self.postgres.start()

    @contextmanager
    def frozen_postgres(self) -> Iterator[None]:
        """PostgreSQL stands still for the length of the block."""
        with self.postgres.frozen():
            yield

    def kill_redis(self, _: random.Random) -> None:
        """SIGKILL to Redis, and start it again."""
        self.redis.kill()
        self.redis.start()

    def check(self, load: Load) -> int:
        """Every acknowledged row is stored under its id, none twice; returns how many are stored."""
        with psycopg.connect(self.settings.database_dsn) as connection:
            rows = connection.execute("SELECT reference, id::text FROM transactions_partitioned").fetchall()
            (claimed,) = connection.execute("SELECT count(*) FROM idempotency_keys").fetchone() or (0,)
        stored: dict[str, str] = dict(rows)
        lost = {key for key, row_id in load.acknowledged.items() if stored.get(key) != row_id}
        assert not lost, f"{len(lost)} acknowledged rows were lost of {len(load.acknowledged)}"
        assert len(rows) == len(stored), f"{len(rows) - len(stored)} rows were stored twice"
        assert claimed == len(rows), f"{claimed} keys for {len(rows)} rows"
        assert load.unexpected == []
        return len(rows)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def site(workers: int = 2) -> Iterator[Site]:
    """A durable PostgreSQL, migrated; a Redis; an API of ``workers`` processes; all gone at the end."""
    home = Path(tempfile.mkdtemp(prefix="treasury-site-"))
    home.chmod(0o755)  # PostgreSQL's account must get in
    bin_dir = os.environ.get(PG_BIN)
    postgres = Killable(Postgres(home, 0, Path(bin_dir) if bin_dir else None))
    redis = Killable(Redis(home))
    try:
        postgres.start()
        redis.start()
        migrate.upgrade(postgres.url)
        settings = _settings(home, postgres, redis, workers)
        api = Api(settings)
        try:
            api.start()
            headers = {"Authorization": f"Bearer {create_key(settings, 'acme', CLIENT_SCOPES)}"}
            yield Site(settings, postgres, redis, api, api.url, headers)
        finally:
            api.stop()
    finally:
        redis.stop()
        postgres.stop()
        shutil.rmtree(home)


def _settings(home: Path, postgres: Killable, redis: Killable, workers: int) -> Settings:
    given = {"database_url": SecretStr(postgres.url), "redis_url": SecretStr(redis.url)}
    own = load_settings(home=home, archive_url=f"file://{home / 'archive'}", api_workers=workers, **given)
    return with_partitions(own)


def _wait_until_ready(url: str) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the API did not become ready")
