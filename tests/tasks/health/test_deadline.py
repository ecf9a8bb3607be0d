"""Work under a deadline: it holds whatever is waited for, and nothing is raised."""

import threading
import time

from ledger.errors import TransientError
from tasks.deadline import run_each


def test_all_of_it_runs_at_the_same_time_and_what_fails_is_the_answer() -> None:
    meeting = threading.Barrier(3)

    def fail() -> int:
        meeting.wait(10)
        raise KeyError("x")

    outcomes = run_each(
        {"one": lambda: meeting.wait(10) * 0 + 1, "two": fail, "three": lambda: meeting.wait(10) * 0}, 10
    )
    assert outcomes["one"][0] == 1
    assert isinstance(outcomes["two"][0], KeyError)
    assert outcomes["three"][0] == 0


def test_what_hangs_is_left_behind_once_and_not_started_again_until_it_ends() -> None:
    released, begun = threading.Event(), []

    def hang() -> bool:
        begun.append(threading.current_thread())
        return released.wait(30)

    first, _ = run_each({"hanging": hang}, 0.05)["hanging"]
    second, _ = run_each({"hanging": hang}, 0.05)["hanging"]
    assert isinstance(first, TransientError)
    assert str(first) == "no answer within 0.05 s"
    assert isinstance(second, TransientError)
    assert "earlier attempt" in str(second)
    assert len(begun) == 1
    assert begun[0].daemon
    released.set()
    begun[0].join()
    assert run_each({"hanging": hang}, 10)["hanging"][0] is True


def test_a_hanging_one_does_not_hold_up_the_others() -> None:
    released = threading.Event()
    started = time.monotonic()
    outcomes = run_each({"hangs": lambda: released.wait(30), "answers": lambda: True}, 0.2)
    assert time.monotonic() - started < 20  # not the thirty that it would wait
    assert outcomes["answers"][0] is True
    assert isinstance(outcomes["hangs"][0], TransientError)
    released.set()
