"""The operation of daily totals, for the one list in `api.routing.routes`."""

from api.routing.operations import Operation, Parameter
from api.totals import handlers
from api.totals.answers import DailyTotals
from ledger.business_days import DAY_PATTERN
from ledger.scopes import Scope
from ledger.totals import TotalsGroup, Zone

_DAY = {"type": "string", "format": "date", "pattern": DAY_PATTERN.removesuffix(r"(?!\n)"), "examples": ["2026-11-23"]}
_GROUP = "|".join(TotalsGroup)


def operations() -> tuple[Operation, ...]:
    """Every operation on totals."""
    groups = {"type": "string", "pattern": f"^({_GROUP})(,({_GROUP}))*$", "default": handlers.DEFAULT_GROUPS}
    return (
        Operation(
            name="getTotals",
            method="GET",
            path="/api/v1/totals",
            summary="Get daily totals of transactions",
            description="Numbers of rows, and sums per currency, of all tiers, equal to the rows to the cent. A key "
            "sees its client's rows; with `read:all`, those of all clients. The table `vas_transactions` requires the "
            f"scope `vas:read` too. An answer has at most {handlers.MOST_TOTALS:,} totals.",
            handler=handlers.get_totals,
            scope=Scope.TRANSACTIONS_READ,
            tag="totals",
            answers={200: DailyTotals},
            parameters=(
                Parameter("from", "The first day", _DAY, required=True),
                Parameter("to", "The last day, included", _DAY, required=True),
                Parameter(
                    "table",
                    f"The table, default `{handlers.DEFAULT_TABLE}`",
                    {"type": "string", "enum": list(handlers.TABLES)},
                ),
                Parameter(
                    "zone",
                    "Whose days: of UTC, or of South Africa",
                    {"type": "string", "enum": list(Zone), "default": "UTC"},
                ),
                Parameter(
                    "group_by", "What totals are grouped by, in addition to the currency; separated by commas", groups
                ),
            ),
        ),
    )
