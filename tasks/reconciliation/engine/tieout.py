"""The tie-out: our total, the statement's total and the float's movement, to the cent, with every difference explained.

It is arithmetic over the engine's totals, and it is asserted. What does not add up is an error of this engine, and no
run is written down with it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from config.reconciliation import ReconciliationSettings
from ledger.errors import ConfigError, VerificationError
from ledger.money import parse_amount
from ledger.statements import BreakClass
from tasks.reconciliation.engine.commission import vat_included
from tasks.reconciliation.vocabulary import Verdict

_ZERO = Decimal("0.00")


class FloatMovement(BaseModel):
    """The supplier's account of our prepaid float on the day; deposits are what we paid in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opening: Decimal = Field(max_digits=18, decimal_places=2)
    deposits: Decimal = Field(_ZERO, ge=0, max_digits=18, decimal_places=2)
    closing: Decimal = Field(max_digits=18, decimal_places=2)
    currency: str = "ZAR"
    basis: Literal["net", "gross"] = Field("net", description="Whether commission is left in the float (net) or not")

    @classmethod
    def parse(cls, field: str, text: str) -> Self:
        """The movement that a person wrote as ``OPENING,DEPOSITS,CLOSING[,BASIS[,CURRENCY]]``.

        Raises ConfigError or FieldError naming ``field``.
        """
        parts = text.split(",")
        if not 3 <= len(parts) <= 5:
            raise ConfigError(
                f"{field}: must be OPENING,DEPOSITS,CLOSING[,BASIS[,CURRENCY]], such as 5000.00,0.00,4100.00,net"
            )
        opening, deposits, closing = (parse_amount(field, part) for part in parts[:3])
        if deposits < 0:
            raise ConfigError(f"{field}: DEPOSITS must be 0 or more")
        further = dict(zip(("basis", "currency"), parts[3:], strict=False))
        if further.get("basis", "net") not in ("net", "gross"):
            raise ConfigError(f"{field}: BASIS must be net or gross")
        if re.fullmatch("[A-Z]{3}", further.get("currency", "ZAR")) is None:
            raise ConfigError(f"{field}: CURRENCY must be three capital letters")
        return cls.model_validate({"opening": opening, "deposits": deposits, "closing": closing} | further)

    @property
    def consumed(self) -> Decimal:
        """The money that left the float by transactions."""
        return self.opening + self.deposits - self.closing


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of rows and their totals."""

    rows: int
    value: Decimal

    def as_json(self) -> dict[str, Any]:
        """Money as decimal text."""
        return {"rows": self.rows, "value": f"{self.value:.2f}"}


@dataclass(frozen=True, slots=True)
class Commission:
    """Commission of one currency: as the statement has it, by contract, and as booked by us. VAT is in it: once in the
    sum, and once in each transaction's, rounded to the cent there (``..._vat_by_row``).

    ``net`` is what the statement's lines took from a float that keeps commission, ``own_net`` the internal rows less
    what we booked. ``fee`` is what the lines say was charged.
    """

    statement: Decimal = _ZERO
    expected: Decimal = _ZERO
    own: Decimal = _ZERO
    fee: Decimal = _ZERO
    net: Decimal = _ZERO
    own_net: Decimal = _ZERO
    statement_vat: Decimal = _ZERO
    expected_vat: Decimal = _ZERO
    own_vat: Decimal = _ZERO

    def as_json(self, vat_rate: Decimal) -> dict[str, str]:
        """Money as decimal text."""
        figures = {name: value for name, value in asdict(self).items() if not name.endswith("_vat")}
        commissions = {"statement": self.statement, "expected": self.expected, "own": self.own}
        by_row = {"statement": self.statement_vat, "expected": self.expected_vat, "own": self.own_vat}
        return (
            {name: f"{value:.4f}" for name, value in figures.items()}
            | {f"{name}_vat": f"{vat_included(value, vat_rate):.2f}" for name, value in commissions.items()}
            | {f"{name}_vat_by_row": f"{value:.2f}" for name, value in by_row.items()}
        )


@dataclass(frozen=True, slots=True)
class TieOut:
    """One currency: both totals, and the figures that lead from ours to the statement's."""

    currency: str
    statement: Figure
    own: Figure
    items: Mapping[str, Figure]
    commission: Commission
    rules: ReconciliationSettings

    @property
    def difference(self) -> Decimal:
        """The statement's total less ours."""
        return self.statement.value - self.own.value

    @property
    def variance(self) -> Decimal:
        """The part of the difference that breaks explain; the rest is tolerated or a matter of the day."""
        return sum((self.item(f"break_{break_class}").value for break_class in BreakClass), _ZERO)

    def item(self, name: str) -> Figure:
        """A figure by name; nothing when there is none of it."""
        return self.items.get(name, Figure(0, _ZERO))

    def check(self) -> None:
        """Raise VerificationError unless matched and unmatched give both totals, and the classes the difference. What
        is tolerated must be within the tolerance of so many rows.
        """
        checked_totals = {
            "the statement": (self.statement, ("matched_statement", "unmatched_statement", "payout_over_entries")),
            "our side": (self.own, ("matched_own", "unmatched_own", "own_nothing_expected", "own_on_other_statements")),
        }
        for side, (total, parts) in checked_totals.items():
            value = sum((self.item(part).value for part in parts), _ZERO)
            if value != total.value:
                raise VerificationError(f"tie-out {self.currency}: the parts of {side} are {value}, not {total.value}")
        explained = (
            self.variance
            + self.item("tolerated").value
            + self.item("own_of_other_days").value
            - self.item("own_on_other_statements").value
        )
        if explained != self.difference:
            raise VerificationError(
                f"tie-out {self.currency}: the classes explain {explained} of a difference of {self.difference}"
            )
        tolerated = self.item("tolerated")
        if abs(tolerated.value) > tolerated.rows * self.rules.amount_tolerance:
            raise VerificationError(
                f"tie-out {self.currency}: {tolerated.value} is tolerated over {tolerated.rows} rows, "
                f"more than {self.rules.amount_tolerance} each"
            )

    def as_json(self) -> dict[str, Any]:
        """Everything, money as decimal text."""
        return {
            "statement": self.statement.as_json(),
            "own": self.own.as_json(),
            "difference": f"{self.difference:.2f}",
            "variance": f"{self.variance:.2f}",
            "items": {name: figure.as_json() for name, figure in sorted(self.items.items())},
            "commission": self.commission.as_json(self.rules.vat_rate),
        }


def tie_outs(
    totals: Iterable[tuple[str, str, int, Decimal]],
    commissions: Mapping[str, Commission],
    rules: ReconciliationSettings,
) -> list[TieOut]:
    """The checked tie-out of every currency, from ``(currency, item, rows, value)`` and its commission.

    Raises VerificationError when anything does not add up.
    """
    by_currency: dict[str, dict[str, Figure]] = {}
    for currency, item, rows, value in totals:
        by_currency.setdefault(currency, {})[item] = Figure(rows, value)
    tie_outs_made = []
    for currency, items in sorted(by_currency.items()):
        nothing = Figure(0, _ZERO)
        statement, own = items.pop("statement", nothing), items.pop("own", nothing)
        tie_outs_made.append(TieOut(currency, statement, own, items, commissions.get(currency, Commission()), rules))
    for tie_out in tie_outs_made:
        tie_out.check()
    return tie_outs_made


def float_figures(movement: FloatMovement | None, tie_outs: Iterable[TieOut]) -> dict[str, str] | None:
    """The third way: what left the float beside what the statement and the internal rows say should have; None without
    one.
    """
    if movement is None:
        return None
    tie_out = next((tie for tie in tie_outs if tie.currency == movement.currency), None)
    statement, own = (tie_out.statement.value, tie_out.own.value) if tie_out else (_ZERO, _ZERO)
    if tie_out and movement.basis == "net":
        statement, own = tie_out.commission.net, tie_out.commission.own_net
    return {
        "currency": movement.currency,
        "basis": movement.basis,
        "opening": f"{movement.opening:.2f}",
        "deposits": f"{movement.deposits:.2f}",
        "closing": f"{movement.closing:.2f}",
        "consumed": f"{movement.consumed:.2f}",
        "statement": f"{statement:.4f}",
        "own": f"{own:.4f}",
        "consumed_less_statement": f"{movement.consumed - statement:.4f}",
        "consumed_less_own": f"{movement.consumed - own:.4f}",
    }


def verdict_of(matched: Decimal, variance: Decimal, rules: ReconciliationSettings) -> Verdict:
    """Return what a day is called: ``matched`` is the share of both sides that found its match, ``variance`` the
    largest.
    """
    size = abs(variance)
    if matched < rules.critical_matched or size > 2 * rules.pass_variance:
        return Verdict.CRITICAL
    return Verdict.PASSED if matched >= rules.pass_matched and size <= rules.pass_variance else Verdict.FAILED
