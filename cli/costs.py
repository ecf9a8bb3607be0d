"""What `treasury tiers --cost` prints: what the months cost now, what they would cost hot, and the years ahead."""

import json
from collections.abc import Sequence
from decimal import Decimal

from cli import terminal
from config import Settings
from ledger.sizes import GIGABYTE
from ledger.storage_costs import CostOfMonth, TierCost
from ledger.tables import TieredTable
from tasks.retention.costs import CostAhead, TableCost, percent, table_costs

_SMALL = Decimal("0.01")


def show_costs(settings: Settings, tables: Sequence[TieredTable], *, as_json: bool) -> None:
    """Print the costs of some tables for people, or as one JSON array."""
    with terminal.working("computing"):
        currency, costs = settings.prices.currency, table_costs(settings, tables)
    if as_json:
        terminal.console.out(json.dumps([cost.as_json(currency) for cost in costs], indent=1))
        return
    for cost in costs:
        columns = ("tier", "months", "gigabytes", f"{currency} a month")
        terminal.table(cost.table, columns, [*map(_row, cost.now.tiers), _other(cost.now)])
        terminal.console.out("\n".join(_sentences(cost, currency)))
    terminal.note("prices: TREASURY_PRICES__…, docs/settings.md; bytes alone, without backups, replicas and traffic")


def _row(tier: TierCost) -> list[str]:
    size = f"{tier.bytes / GIGABYTE:,.3f}" + (f", {tier.unknown} of unknown size" if tier.unknown else "")
    return [str(tier.tier), f"{tier.months:,}", size, money(tier.cost)]


def _other(now: CostOfMonth) -> list[str]:
    """The line of lookups, trees, proofs and former objects, which have the price of cold bytes."""
    return ["other objects", "", f"{now.other_bytes / GIGABYTE:,.3f}", money(now.other)]


def _sentences(cost: TableCost, currency: str) -> list[str]:
    now = cost.now
    present = f"now: {money(now.total)} {currency} a month, of which {money(now.requests)} for requests to the store"
    ahead = [f"the next {years.span}: {money(years.total)} {currency}; {_hot(years)}" for years in cost.ahead]
    return [f"{present}; all hot: {money(now.all_hot)}; {_saved(now)}", *ahead]


def _saved(now: CostOfMonth) -> str:
    share = percent(now.saved_share)
    if share is None:
        return "nothing is stored yet"
    amount = money(abs(now.saved))
    if now.saved < 0:
        return f"the tiers cost {amount} more, {share.removeprefix('-')} %"
    return f"the tiers save {amount}, {share} %"


def _hot(ahead: CostAhead) -> str:
    share = percent(ahead.saved_share)
    if share is None:
        return "what it would be all hot is unknown, because nobody knows what some months take"
    return f"all hot: {money(ahead.all_hot)}; saved {share} %"


def money(amount: Decimal) -> str:
    """An amount with two decimal places, and `less than 0.01` for one that would be shown as nothing."""
    return "less than 0.01" if 0 < amount < _SMALL else f"{amount:,.2f}"
