"""Every rule that can raise an alert, with the threshold that the settings give it: the list that people see.

A family of rules joins by adding the function that lists it to `FAMILIES`.
"""

from collections.abc import Callable, Sequence

from config import Settings
from ledger.alerts import AlertRule, Severity
from tasks.alerting.incidents import process_rules
from tasks.alerting.request_rules import request_rules
from tasks.health.checks import CHECKS
from tasks.health.record import RULE_PREFIX
from tasks.reconciliation.alert_rules import closed_rules
from tasks.retention.locks import lock_rules
from tasks.statements.alert_rules import statement_rules
from tasks.transparency.alert_rules import log_rules
from tasks.vending.alert_rules import vend_rules
from tasks.verifying.reverification import verification_rules
from tasks.watch.rules import transaction_rules


def rules(settings: Settings) -> list[AlertRule]:
    """Every rule, in the order of its family."""
    return [rule for family in FAMILIES for rule in family(settings)]


def health_rules(settings: Settings) -> list[AlertRule]:
    """One rule a health check; its alert is a warning or critical, as the check is."""
    alert_rules = []
    for check in CHECKS:
        limits = check.limits(settings)
        threshold = (
            str(limits) if limits else f"critical when not measured within {settings.health.check_timeout_s:g} s"
        )
        alert_rules.append(AlertRule(f"{RULE_PREFIX}{check.name}", check.description, Severity.CRITICAL, threshold))
    return alert_rules


FAMILIES: tuple[Callable[[Settings], Sequence[AlertRule]], ...] = (
    closed_rules,
    health_rules,
    lock_rules,
    log_rules,
    process_rules,
    request_rules,
    statement_rules,
    transaction_rules,
    vend_rules,
    verification_rules,
)
