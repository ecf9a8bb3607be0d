"""The tie of a worker process to its supervisor."""

import ctypes
import multiprocessing
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_supervisor() -> None:
    """Let the kernel end this process when its supervisor ends (Linux only). Does nothing without a supervisor.

    A worker that outlives its supervisor keeps the port from the next one, and nothing watches it.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if not supervisor.is_alive():  # since before the line above
        signal.raise_signal(signal.SIGTERM)
