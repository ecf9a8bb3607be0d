"""`treasury up`: start the servers of this home and keep them running."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from urllib.parse import urlsplit

from cli import terminal
from cli.status import TITLES, address_of
from config import Settings, load_settings
from ledger.errors import TreasuryError
from servers import stack
from tasks.admin.processes import Incident
from tasks.admin.session_key import kept_valid
from tasks.admin.setup import open_for
from tasks.alerting.delivery import require_targets
from tasks.alerting.incidents import end_incidents, incident_alerts

CHECK_S = 1.0
SESSION_CLIENT = "local"
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up() -> None:
    """Start all servers and keep them running. Ctrl-C stops them.

    The servers are PostgreSQL, Redis, S3, the supplier simulators, Prefect with a worker, and the API. One that ends
    by itself is started again; the others keep running.
    """
    settings = load_settings()
    require_targets(settings)
    terminal.note(f"starting in {settings.home}; the first start takes up to a minute")
    keys: list[str] = []

    def prepare(ready: Settings) -> None:
        opened = open_for(ready, SESSION_CLIENT)
        keys.append(opened.key)
        for problem in opened.problems:
            terminal.note(f"not prepared: {problem}")

    with _until_signalled(), stack.up(settings, before_api=prepare) as running:
        show(settings, running)
        terminal.console.print(f"API key of this session: {keys[0]}", markup=False, soft_wrap=True)
        terminal.note("it is revoked when this stops; `treasury key create` makes one that stays")
        try:
            end_incidents(running.settings, [endpoint.name for endpoint in running.endpoints])
        except TreasuryError as error:
            terminal.note(f"alerts of an earlier run stay open: {error}")
        with (
            kept_valid(running.settings, keys[0]),
            incident_alerts(running.settings) as alert,
            running.supervisor(_reported(alert)) as supervisor,
        ):
            while True:
                time.sleep(CHECK_S)
                supervisor.look()


def _reported(alert: Callable[[Incident], None]) -> Callable[[Incident], None]:
    """Return the function that reports an incident: a line on standard error, and an alert."""

    def report(incident: Incident) -> None:
        terminal.note(incident.text)
        alert(incident)

    return report


def show(settings: Settings, running: stack.Up) -> None:
    """Print the address of each server, the ports that were taken, and the folders of passwords and logs."""
    rows = [(TITLES[endpoint.name], address_of(endpoint)) for endpoint in running.endpoints]
    home = os.environ.get("TREASURY_HOME")
    stop = f"TREASURY_HOME={home} make down" if home else "make down"
    terminal.table(f"Everything is up. Ctrl-C or `{stop}` stops it.", ("server", "address"), rows)
    terminal.console.print(f"passwords and keys: {settings.home / 'keys'}    logs: {settings.home / 'log'}")
    if any(endpoint.name == "prefect" for endpoint in running.endpoints):
        terminal.console.print("login of the Prefect UI: `treasury prefect login` prints it")
    for endpoint in running.endpoints:
        wanted = stack.wanted_port(settings, endpoint)
        if wanted:
            terminal.note(f"port {wanted} was taken: {TITLES[endpoint.name]} uses port {urlsplit(endpoint.url).port}")
    for problem in running.problems:
        terminal.note(problem)


@contextmanager
def _until_signalled() -> Iterator[None]:
    """Run the block until it ends or a signal arrives. A second signal does not interrupt the shutdown."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
        terminal.note("stopping ...")
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        yield
    except KeyboardInterrupt:
        terminal.note("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
