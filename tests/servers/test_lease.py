"""Sharing a server: started once, stopped by the last one out, gone after any kind of death."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.errors import TransientError
from servers import lease, process
from servers.redis import Redis

SLEEPER = "/bin/sleep"


@dataclass(frozen=True)
class Scripted:
    """A server that is a shell script. It is ready as soon as its script has made the file ``ready``."""

    home: Path
    script: str
    stop_timeout_s: float = 5.0
    ready_timeout_s: float = 5.0
    name: str = field(default="scripted")

    def prepare(self) -> process.Launch:
        (self.home / "ready").unlink(missing_ok=True)
        return process.Launch(
            name=self.name,
            argv=("/bin/sh", "-c", self.script),
            url=str(self.home / "ready"),
            env=process.plain_environment(),
            cwd=self.home,
            stop_timeout_s=self.stop_timeout_s,
            ready_timeout_s=self.ready_timeout_s,
        )

    def answers(self, url: str) -> bool:
        return Path(url).exists()


@contextmanager
def borrower(home: Path, *options: str, stderr: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds a lease on Redis until its standard input closes; it prints the URL once it has it."""
    program = """
        import sys
        from pathlib import Path
        from servers.lease import lease
        from servers.redis import Redis
        home = Path(sys.argv[1])
        with lease(home, Redis(home)) as endpoint:
            print(endpoint.url, flush=True)
            sys.stdin.read()
    """
    argv = [sys.executable, *options, "-c", textwrap.dedent(program), str(home)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True) as borrowing:
        try:
            yield borrowing
        finally:
            borrowing.kill()


def url_of(borrowing: "subprocess.Popen[str]") -> str:
    assert borrowing.stdout is not None
    return borrowing.stdout.readline().strip()


def leave(borrowing: "subprocess.Popen[str]") -> None:
    assert borrowing.stdin is not None
    borrowing.stdin.close()
    assert borrowing.wait(30) == 0


def until(true: Callable[[], bool], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


def alive(home: Path, name: str = "redis") -> bool:
    return lease.is_held(home / "run" / f"{name}.alive")


def is_gone(pid: int) -> bool:
    """Whether no process has this pid, or only the dead entry of one that its parent has not collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_two_commands_at_the_same_time_share_one_server_and_the_last_one_out_stops_it(home: Path) -> None:
    with borrower(home) as first, borrower(home) as second:
        url = url_of(first)
        assert url == url_of(second)
        leave(first)
        assert Redis(home).answers(url)
        leave(second)
        assert not Redis(home).answers(url)
        assert not alive(home)


@pytest.mark.heavy("two commands at a time are tested beside it")
def test_a_user_killed_with_9_leaves_no_server(home: Path) -> None:
    with borrower(home) as only:
        url = url_of(only)
        only.kill()
        until(lambda: not alive(home))
    assert not Redis(home).answers(url)


@pytest.mark.heavy("two commands at a time are tested beside it")
def test_a_server_outlives_the_command_that_started_it_while_another_uses_it(home: Path) -> None:
    with borrower(home) as first:
        url = url_of(first)
        with borrower(home) as second:
            assert url_of(second) == url
            first.kill()
            first.wait()
            time.sleep(0.3)
            assert Redis(home).answers(url)
            leave(second)
    assert not alive(home)


@pytest.mark.heavy("two commands at a time are tested beside it")
def test_who_started_a_server_and_leaves_it_to_others_is_not_warned_of_it(home: Path) -> None:
    with borrower(home, "-W", "error", stderr=subprocess.PIPE) as first:
        url = url_of(first)
        with borrower(home) as second:
            assert url_of(second) == url
            leave(first)
            assert first.stderr is not None
            assert first.stderr.read() == ""
            assert Redis(home).answers(url)
            leave(second)


def test_a_keeper_killed_with_9_takes_its_server_along_and_the_next_lease_starts_anew(home: Path) -> None:
    with borrower(home) as user:
        url = url_of(user)
        os.kill(int((home / "run" / "redis.alive").read_text()), signal.SIGKILL)
        until(lambda: not Redis(home).answers(url))
        with lease.lease(home, Redis(home)) as again:
            assert Redis(home).answers(again.url)


def test_what_a_server_started_and_left_behind_ends_with_it(home: Path) -> None:
    stray = f"setsid {SLEEPER} 600 & echo $! > stray; touch ready; exec {SLEEPER} 600"
    with lease.lease(home, Scripted(home, stray)):
        pid = int((home / "stray").read_text())
        assert not is_gone(pid)
    assert is_gone(pid)


def test_a_server_that_ignores_the_signal_is_killed_after_its_time(home: Path) -> None:
    deaf = "trap '' TERM; echo $$ > pid; touch ready; while :; do sleep 0.1; done"
    started = time.monotonic()
    with lease.lease(home, Scripted(home, deaf, stop_timeout_s=0.5)):
        pid = int((home / "pid").read_text())
    assert is_gone(pid)
    assert time.monotonic() - started < 10


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(home: Path) -> None:
    broken = Scripted(home, "echo the disk is full; exit 3")
    with (
        pytest.raises(TransientError, match=r"ended while it was starting(.|\n)*disk is full"),
        lease.lease(home, broken),
    ):
        pytest.fail("it was lent")
    assert not alive(home, "scripted")


def test_a_server_that_takes_too_long_is_stopped(home: Path) -> None:
    slow = Scripted(home, f"echo waiting; exec {SLEEPER} 600", ready_timeout_s=0.5)
    with pytest.raises(TransientError, match=r"did not answer within(.|\n)*waiting"), lease.lease(home, slow):
        pytest.fail("it was lent")
    assert not alive(home, "scripted")


def test_a_start_can_be_given_up(home: Path) -> None:
    slow = Scripted(home, f"exec {SLEEPER} 600", ready_timeout_s=60)
    with pytest.raises(TransientError, match="given up"), lease.lease(home, slow, given_up=lambda: True):
        pytest.fail("it was lent")
    assert not alive(home, "scripted")


def test_a_server_that_is_slow_to_answer_is_not_taken_from_those_who_use_it(home: Path) -> None:
    server = Scripted(home, f"touch ready; exec {SLEEPER} 600")
    with lease.lease(home, server):
        keeper = (home / "run" / "scripted.alive").read_text()
        (home / "ready").unlink()
        threading.Timer(3.0, (home / "ready").touch).start()
        with lease.lease(home, server):
            assert (home / "run" / "scripted.alive").read_text() == keeper


def test_a_server_that_hangs_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HANGS_S", 0.5)
    server = Scripted(home, f"touch ready; exec {SLEEPER} 600")
    with lease.lease(home, server):
        keeper = (home / "run" / "scripted.alive").read_text()
        (home / "ready").unlink()  # from now on it does not answer
        with lease.lease(home, server):
            assert (home / "run" / "scripted.alive").read_text() != keeper


def test_down_stops_a_server_that_is_in_use_and_says_whether_there_was_one(home: Path) -> None:
    with borrower(home) as user:
        url_of(user)
        assert lease.stop(home, "redis")
        assert not alive(home)
        assert not lease.stop(home, "redis")


def test_where_a_server_answers_is_written_for_its_owner_only(home: Path) -> None:
    with lease.lease(home, Redis(home)) as endpoint:
        record = home / "run" / "redis.json"
        assert record.stat().st_mode & 0o777 == 0o600
        assert lease.running_endpoint(home, "redis") == endpoint
    assert lease.running_endpoint(home, "redis") is None
