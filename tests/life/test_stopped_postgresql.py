"""PostgreSQL is stopped in the middle of a request, as `pg_ctl stop -m immediate` and a power failure do it."""

import os
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from bench.databases import on_database
from config import Settings
from config.settings import LOGINS, Ports
from servers.lending import running
from tasks.admin.setup import prepare_database
from tests.life.places import Channel, Place
from tests.life.runs import KILLED, Run, Work
from tests.life.scenes import Beginning, Scene, begin, staged
from tests.life.strikes import Struck, telling
from tests.tasks.archiving.ledger import COLD

pytestmark = pytest.mark.slow
FIRST, SECOND = COLD, COLD.plus(1)
WORK = Work((SECOND,))
STOPS = 24


class Server:
    """A durable PostgreSQL of the test's own, at one port, that can be stopped as if the machine had failed."""

    def __init__(self, settings: Settings) -> None:
        self._base, self._running = settings, ExitStack()
        self.settings = self._start()

    def _start(self) -> Settings:
        return self._running.enter_context(running(self._base, "postgres"))

    def stop(self) -> None:
        """Immediately: no checkpoint, no COMMIT is waited for, nothing in memory is kept."""
        (pid_file,) = self._base.home.glob("postgres/*/postmaster.pid")
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)

    def start_again(self) -> None:
        """On the same data and port."""
        self.close()
        assert self._start().database_dsn == self.settings.database_dsn

    def close(self) -> None:
        """Give the server back."""
        self._running.close()
        self._running = ExitStack()


@pytest.fixture(scope="module")
def server(server_settings: Settings) -> Iterator[Server]:
    """A server that loses what it may: nothing flushes its log but a COMMIT that waits for it."""
    home = Path(tempfile.mkdtemp(prefix="treasury-stopped-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        ports = Ports(postgres=free.getsockname()[1], redis=0, s3=0, prefect=0, api=0, suppliers=0)
    unset = dict.fromkeys(LOGINS)
    server = Server(server_settings.model_copy(update=unset | {"home": home, "ports": ports}))
    with psycopg.connect(server.settings.database_dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.close()
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def beginning(server: Server, server_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Beginning:
    """A month is cold and published, in a database whose owner has given up durability for speed."""
    prepare_database(server.settings)
    name = server.settings.database_dsn.rpartition("/")[2]
    maintenance = on_database(server.settings, "postgres")
    url = f"{server_settings.archive_url}/stopped-{uuid4().hex[:8]}"
    return begin(maintenance, name, url, tmp_path_factory.mktemp("stopped"), FIRST, SECOND, is_first=False)


@pytest.fixture(scope="module")
def places(beginning: Beginning, tmp_path_factory: pytest.TempPathFactory) -> list[Place]:
    """Where the server is stopped."""
    with staged(beginning, tmp_path_factory.mktemp("unharmed")) as scene:
        run = Struck(scene)
        assert (run.run(WORK), run.error) == (0, "")
    found = [place for place in telling(run.places) if place.channel in (Channel.POSTGRES, Channel.STORE)]
    return random.Random("stops").sample(found, STOPS)  # noqa: S311  # the same places in every run


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("number", range(STOPS))
def test_a_run_whose_server_is_stopped_anywhere_is_completed(
    server: Server, beginning: Beginning, places: list[Place], tmp_path: Path, number: int, durable: bool
) -> None:
    """Every other time the run dies with it. Not ``durable``: the database's owner gave that up for speed."""
    together = number % 2 == 1
    with staged(beginning, tmp_path) as scene:
        if not durable:
            scene.ledger.sql(f"ALTER DATABASE {scene.name} SET synchronous_commit = off")
        run = Struck(scene, places[number])

        def strike(run: Run) -> None:
            server.stop()
            if together:
                run.kill()

        code = run.run(WORK, strike=strike)
        assert (code in KILLED) if together else (code == 0 and run.error.startswith("TransientError")), run.error
        server.start_again()
        _complete(scene)


def _complete(scene: Scene) -> None:
    scene.check_rows()
    scene.complete()
    scene.check_completed()
