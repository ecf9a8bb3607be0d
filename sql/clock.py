"""PostgreSQL's clock, which is the clock of the ledger, and the clock of this machine compared with it.

A row's time decides its month. A process whose clock is wrong would store rows in another one, and archive months that
are not due.
"""

import time
from collections.abc import Callable
from datetime import datetime

from ledger.errors import ClockError
from sql.connection import Connection, fetch_one
from sql.queries import load

ASK = "SELECT extract(epoch FROM clock_timestamp())::float8"
_QUERIES = load("clock")


def read_now(connection: Connection) -> datetime:
    """PostgreSQL's time in whole milliseconds, UTC."""
    now: datetime = fetch_one(connection, _QUERIES["now"])[0]
    return now


def wall_clock_s() -> float:
    """This machine's clock: seconds since 1970."""
    return time.time()


def least_difference_s(before_s: float, server_s: float, after_s: float) -> float:
    """By how much this machine's clock is ahead of the server's, at least; negative: behind.

    The server read its clock at some moment between ``before_s`` and ``after_s`` of ours. So a slow answer is never
    taken for a wrong clock: 0 when the server's time lies between the two.
    """
    if server_s < before_s:
        return before_s - server_s
    return min(0.0, after_s - server_s)


def difference_s(connection: Connection, wall_s: Callable[[], float] | None = None) -> float:
    """`least_difference_s` of this machine's clock now. ``wall_s`` gives the seconds since 1970, by default of it."""
    read = wall_s or wall_clock_s
    before_s = read()
    (server_s,) = fetch_one(connection, ASK)
    return least_difference_s(before_s, float(server_s), read())


def require_clock(connection: Connection, tolerance_s: float) -> None:
    """Raise ClockError when this machine's clock and PostgreSQL's differ by more than ``tolerance_s`` seconds."""
    check_difference(difference_s(connection), tolerance_s)


def check_difference(ahead_s: float, tolerance_s: float) -> None:
    """Raise ClockError, which says what to do, for a difference of more than ``tolerance_s`` seconds."""
    if abs(ahead_s) > tolerance_s:
        raise ClockError(
            f"the clock of this machine is {described(ahead_s)} PostgreSQL's, and TREASURY_CLOCK_TOLERANCE_S allows"
            f" {tolerance_s:g} s: rows would be stored in a wrong month. Correct the clock that is wrong (NTP)"
        )


def described(ahead_s: float) -> str:
    """Such as "3600.0 s ahead of"."""
    return f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'}"
