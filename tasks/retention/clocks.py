"""The clocks that a grace period is measured by: PostgreSQL, this machine and the store must agree before it is over.

PostgreSQL and the worker may be on one machine, where a wrong clock is wrong for both.
"""

from config import Settings
from ledger.errors import ClockError
from sql.clock import described, require_clock
from sql.connection import Connection
from storage.clock import store_ahead_s
from storage.marker import KEY
from storage.store import ObjectStore


def require_clocks(connection: Connection, settings: Settings) -> None:
    """Raise ClockError where two of the clocks differ by more than `clock_tolerance_s`. A folder has no clock of its
    own. Reads only; raises the store's errors.
    """
    require_clock(connection, settings.clock_tolerance_s)
    ahead_s = store_ahead_s(ObjectStore(settings), KEY) or 0.0
    if abs(ahead_s) > settings.clock_tolerance_s:
        raise ClockError(
            f"the clock of the object store is {described(ahead_s)} this machine's, and TREASURY_CLOCK_TOLERANCE_S "
            f"allows {settings.clock_tolerance_s:g} s: a grace period may not be over. Correct the clock that is wrong "
            "(NTP)"
        )
