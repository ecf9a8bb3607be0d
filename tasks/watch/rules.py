"""The rules over transactions: what each asks of PostgreSQL, and what its alerts say."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config import Settings
from config.watch_transactions import Amounts, WatchTransactions
from ledger.alerts import AlertRule, Severity
from sql.queries import load

_QUERIES = load("watch")
_AT_THE_CUSTOMER = "Look at the rows in the evidence and at who the user is; then acknowledge, or hold the account."


@dataclass(frozen=True, slots=True)
class WatchRule:
    """A rule with the figures that the settings give it. ``query`` is of `sql/queries/watch.sql`."""

    name: str
    query: str
    enabled: bool
    severity: Severity
    title: str
    what_to_do: str
    threshold: str
    parameters: Mapping[str, Any]


def watch_rules(watch: WatchTransactions) -> list[WatchRule]:
    """Every rule, in the order in which they are evaluated, those that are switched off too."""
    return [
        *_by_amount(watch),
        *_by_cash(watch),
        *_by_time(watch),
        _unusual(watch),
    ]


def transaction_rules(settings: Settings) -> list[AlertRule]:
    """The rules as they are listed, with the thresholds that the settings give them."""
    rules = []
    for rule in watch_rules(settings.watch_transactions):
        on = rule.enabled and settings.watch_transactions.enabled
        rules.append(AlertRule(rule.name, rule.title, rule.severity, rule.threshold if on else "switched off"))
    return rules


def _by_amount(watch: WatchTransactions) -> Sequence[WatchRule]:
    single, daily = watch.single, watch.daily
    return (
        WatchRule(
            "transaction-single",
            _QUERIES["single"],
            single.enabled,
            single.severity,
            "A single transaction is very large",
            _AT_THE_CUSTOMER,
            f"from {_amounts_text(single.amounts)}",
            {"amounts": _as_json(single.amounts), "types": list(single.types)},
        ),
        WatchRule(
            "transaction-daily",
            _QUERIES["daily"],
            daily.enabled,
            daily.severity,
            "A user's transactions of one day sum up to a large amount",
            _AT_THE_CUSTOMER,
            f"from {_amounts_text(daily.amounts)} a day",
            {"amounts": _as_json(daily.amounts), "types": list(daily.types)},
        ),
    )


def _by_cash(watch: WatchTransactions) -> Sequence[WatchRule]:
    cash = watch.cash_threshold
    band = {"lowest": _as_json(cash.lowest), "highest": _as_json(cash.highest), "types": list(cash.types)}
    band_text = f"{_amounts_text(cash.lowest)} to {_amounts_text(cash.highest)}"
    return (
        WatchRule(
            "transaction-cash-threshold",
            _QUERIES["cash_threshold"],
            cash.enabled,
            cash.severity,
            "Cash just below the amount that must be reported",
            _AT_THE_CUSTOMER,
            band_text,
            band,
        ),
        WatchRule(
            "transaction-structuring",
            _QUERIES["structuring"],
            cash.enabled,
            cash.structuring_severity,
            "Cash in several amounts, each just below what must be reported",
            "Structuring must itself be reported. Hand the evidence to the compliance officer.",
            f"{cash.structuring_count} in 24 hours, each {band_text}",
            {**band, "count": cash.structuring_count},
        ),
    )


def _by_time(watch: WatchTransactions) -> Sequence[WatchRule]:
    velocity, moved, dormant = watch.velocity, watch.in_and_out, watch.dormant
    return (
        WatchRule(
            "transaction-velocity",
            _QUERIES["velocity"],
            velocity.enabled,
            velocity.severity,
            "A user makes transactions faster than people do",
            "Find out whether a person or a program makes them, and through which client's key.",
            f"{velocity.count} in {velocity.minutes} minutes",
            {"count": velocity.count, "minutes": velocity.minutes},
        ),
        WatchRule(
            "transaction-in-and-out",
            _QUERIES["in_and_out"],
            moved.enabled,
            moved.severity,
            "Money came into a wallet and left it soon after",
            "The wallet may be a mule's. Find out where the money came from and where it went.",
            f"{moved.percent} % within {moved.minutes} minutes, from {_amounts_text(moved.amounts)}",
            {
                "amounts": _as_json(moved.amounts),
                "minutes": moved.minutes,
                "percent": moved.percent,
                "incoming": list(moved.incoming),
                "outgoing": list(moved.outgoing),
            },
        ),
        WatchRule(
            "transaction-dormant",
            _QUERIES["dormant"],
            dormant.enabled,
            dormant.severity,
            "A user who was away for long is active again",
            "The account may have been taken over. Ask the user through a channel that was known before.",
            f"after {dormant.days} days",
            {"days": dormant.days},
        ),
    )


def _unusual(watch: WatchTransactions) -> WatchRule:
    unusual = watch.unusual
    return WatchRule(
        "transaction-unusual",
        _QUERIES["unusual"],
        unusual.enabled,
        unusual.severity,
        "An amount is far above what its type usually has",
        _AT_THE_CUSTOMER,
        f"above {unusual.factor} x the mean, from {_amounts_text(unusual.amounts)}",
        {
            "amounts": _as_json(unusual.amounts),
            "factor": unusual.factor,
            "baseline_days": unusual.baseline_days,
            "minimum_sample": unusual.minimum_sample,
        },
    )


def _as_json(amounts: Amounts) -> str:
    return json.dumps({currency: str(amount) for currency, amount in amounts.items()})


def _amounts_text(amounts: Amounts) -> str:
    return ", ".join(f"{currency} {amount}" for currency, amount in amounts.items()) or "no currency"
