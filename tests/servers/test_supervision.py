"""Processes that end by themselves are started again at their address, and left down when they keep ending."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.errors import TransientError
from servers import lease, supervision
from servers.redis import Redis
from servers.supervision import Patience, Supervisor
from tasks.admin.processes import STATE_FILE, Incident, reports
from tasks.admin.processes import ProcessState as State
from tests.servers.test_lease import Scripted, alive, until

QUICK = Patience(ends=3, window_s=60, first_pause_s=0.01, longest_pause_s=0.05)


class Heard(list[Incident]):
    """The incidents that a supervisor reported."""

    def states(self, name: str) -> list[State]:
        return [one.state for one in self if one.name == name]


def kill_server(home: Path, name: str) -> None:
    """End the process itself with -9, as the kernel does when memory runs out; its keeper sees it."""
    keeper = int((home / "run" / f"{name}.alive").read_text())
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    until(lambda: not alive(home, name))


@contextmanager
def supervised(home: Path, *servers: lease.Server, **options: object) -> Iterator[tuple[Supervisor, Heard]]:
    heard = Heard()
    with contextlib_leases(home, servers) as leased:
        chosen: dict[str, object] = {"patience": QUICK, **options}
        with Supervisor(home, leased, heard.append, **chosen) as supervisor:  # type: ignore[arg-type]
            yield supervisor, heard


@contextmanager
def contextlib_leases(
    home: Path, servers: tuple[lease.Server, ...]
) -> Iterator[list[tuple[lease.Server, lease.ServerEndpoint]]]:
    if not servers:
        yield []
        return
    with lease.lease(home, servers[0]) as endpoint, contextlib_leases(home, servers[1:]) as others:
        yield [(servers[0], endpoint), *others]


def look_until(supervisor: Supervisor, true: Callable[[], bool]) -> None:
    def looked() -> bool:
        supervisor.look()
        return true()

    until(looked, 60)


def test_a_process_that_is_killed_runs_again_at_its_address_and_the_others_are_left_alone(home: Path) -> None:
    other = Scripted(home, "touch ready; exec /bin/sleep 600")
    with supervised(home, Redis(home), other) as (supervisor, heard):
        url, others_keeper = lease.running_endpoint(home, "redis"), (home / "run" / "scripted.alive").read_text()
        kill_server(home, "redis")
        look_until(supervisor, lambda: State.RUNNING in heard.states("redis"))
        assert heard.states("redis") == [State.RESTARTING, State.RUNNING]
        assert lease.running_endpoint(home, "redis") == url
        assert url is not None
        assert Redis(home).answers(url.url)
        assert (home / "run" / "scripted.alive").read_text() == others_keeper
        assert heard.states("scripted") == []


def test_a_keeper_that_is_killed_is_replaced_too(home: Path) -> None:
    with supervised(home, Redis(home)) as (supervisor, heard):
        os.kill(int((home / "run" / "redis.alive").read_text()), signal.SIGKILL)
        until(lambda: not alive(home))
        look_until(supervisor, lambda: State.RUNNING in heard.states("redis"))
        assert alive(home)


def test_a_process_that_keeps_ending_is_left_down_by_name_and_the_others_stay(home: Path) -> None:
    dying = Scripted(home, "touch ready; echo out of luck; exit 3")
    with supervised(home, Redis(home), dying) as (supervisor, heard):
        look_until(supervisor, lambda: State.DOWN in heard.states("scripted"))
        assert "3 times" in heard[-1].text
        assert "scripted.log" in heard[-1].text
        assert heard.states("redis") == []
        supervisor.look()
        assert alive(home, "redis")
        assert heard[-1].state is State.DOWN


def test_an_essential_process_that_keeps_ending_ends_the_supervision(home: Path) -> None:
    dying = Scripted(home, "touch ready; exit 3")
    with (
        supervised(home, dying, essential=("scripted",)) as (supervisor, _),
        pytest.raises(TransientError, match=r"scripted .*left down"),
    ):
        look_until(supervisor, lambda: False)


def test_a_process_waits_for_the_one_that_it_needs(home: Path) -> None:
    dying = Scripted(home, "touch ready; exit 3")
    with supervised(home, Redis(home), dying, needs={"redis": ("scripted",)}) as (supervisor, heard):
        look_until(supervisor, lambda: State.DOWN in heard.states("scripted"))
        kill_server(home, "redis")
        for _ in range(50):
            supervisor.look()
            time.sleep(0.01)
        assert heard.states("redis") == [State.RESTARTING]
        assert not alive(home)


def test_another_program_on_the_port_is_named_and_the_process_is_tried_again(home: Path) -> None:
    with supervised(home, Redis(home), patience=Patience(9, 60, 0.01, 0.05)) as (supervisor, heard):
        endpoint = lease.running_endpoint(home, "redis")
        assert endpoint is not None
        port = int(endpoint.url.rpartition(":")[2].partition("/")[0])
        kill_server(home, "redis")
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
            look_until(supervisor, lambda: len(heard) > 1)
            assert f"its port {port} is taken by another program" in heard[1].text
        look_until(supervisor, lambda: heard.states("redis")[-1] is State.RUNNING)
        assert lease.running_endpoint(home, "redis") == endpoint


def test_a_command_that_finds_it_first_starts_it_at_the_same_address(home: Path) -> None:
    with supervised(home, Redis(home)) as (supervisor, heard):
        former = lease.running_endpoint(home, "redis")
        kill_server(home, "redis")
        with lease.lease(home, Redis(home)) as endpoint:
            assert endpoint == former
            look_until(supervisor, lambda: not heard or heard.states("redis")[-1] is State.RUNNING)


def test_an_incident_is_over_once_the_process_has_run_for_the_whole_window(home: Path) -> None:
    with supervised(home, Redis(home), patience=Patience(9, 0.2, 0.01, 0.05)) as (supervisor, heard):
        kill_server(home, "redis")
        look_until(supervisor, lambda: any(one.is_over for one in heard))
        assert [one.is_over for one in heard] == [False, False, True]


def test_the_state_is_kept_for_other_processes_while_up_runs(home: Path) -> None:
    from servers.stack import _claimed

    assert reports(home) is None
    dying = Scripted(home, "touch ready; exit 3")
    with _claimed(home):
        assert reports(home) == {}
        with supervised(home, Redis(home), dying) as (supervisor, heard):
            look_until(supervisor, lambda: State.DOWN in heard.states("scripted"))
            found = reports(home)
            assert found is not None
            assert {name: one.state for name, one in found.items()} == {
                "redis": State.RUNNING,
                "scripted": State.DOWN,
            }
            assert len(found["scripted"].ends) == 3
            (home / "run" / STATE_FILE).write_text(json.dumps({"redis": {}}))
            with pytest.raises(TransientError, match="cannot be read"):
                reports(home)
    assert reports(home) is None


def test_the_pause_grows_up_to_a_limit() -> None:
    assert [supervision.PATIENCE.pause_s(ends) for ends in (1, 2, 3, 4, 7, 50)] == [1, 2, 4, 8, 60, 60]
