"""The simulators of the suppliers' tests: vends are sold there."""

from tests.suppliers.conftest import _running, simulated

__all__ = ["_running", "simulated"]
