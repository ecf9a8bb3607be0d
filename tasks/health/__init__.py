"""The health checks: small named ones, run at once and under a deadline, for the command, the flow and the API."""

from tasks.health.checks import CHECKS, Check
from tasks.health.result import CheckResult, HealthState, Limits, worst
from tasks.health.run import run_checks

__all__ = ["CHECKS", "Check", "CheckResult", "HealthState", "Limits", "run_checks", "worst"]
