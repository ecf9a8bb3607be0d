"""`treasury policy`: what the policies do in the years ahead, and whether they break what was promised."""

import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.session import session
from ledger.errors import ConfigError
from ledger.forecast import STORED, ForecastMonth
from ledger.policy import Tier, TierPolicy
from ledger.sizes import GIGABYTE
from tasks.retention.costs import prices_of
from tasks.retention.policy import Simulation, check_policies, shortened_since, simulate

_PRICE = re.compile(r"(hot|warm|cold|deep)=(\d{1,9}(?:\.\d{1,6})?)")
_MOST_YEARS = 50
_MOST_ROWS = 10**12


def simulate_(
    years: Annotated[int, typer.Option(min=1, max=_MOST_YEARS, help="Years ahead")] = 10,
    rows_per_month: Annotated[
        int | None,
        typer.Option(
            min=0, max=_MOST_ROWS, help="Rows of each month to come  [default: the mean of the newest months]"
        ),
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="Only this table; repeat for several")] = None,
    price_per_gb: Annotated[
        list[str] | None,
        typer.Option(help="Price of a gigabyte a month, such as cold=0.023; repeat for several  [default: settings]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write every month, for programs")] = False,
) -> None:
    """Show what will move, be held and be deleted in the years ahead, and what it takes.

    Bytes come from the present catalogue, prices that are not given from the settings. A size that nobody knows is
    unknown.

    Examples:
      treasury policy simulate --years 5 --rows-per-month 1000000
      treasury policy simulate --price-per-gb hot=0.115 --price-per-gb cold=0.023 --json
    """
    prices = dict(map(_price, price_per_gb or ()))
    with session() as settings, terminal.working("computing"):
        tables = settings.chosen_tables(table)
        of_settings = prices_of(settings)
        forecasts = simulate(settings, tables, years, rows_per_month, {**of_settings.gigabyte, **prices})
    if as_json:
        typer.echo(json.dumps([forecast.as_json() for forecast in forecasts], indent=1))
        return
    for forecast in forecasts:
        _show(forecast, of_settings.currency)


def _price(text: str) -> tuple[Tier, Decimal]:
    match = _PRICE.fullmatch(text)
    if match is None:
        raise ConfigError(f"--price-per-gb: {text!r} must be a tier and a price, such as cold=0.023")
    return Tier(match[1]), Decimal(match[2])


def _show(forecast: Simulation, currency: str) -> None:
    columns = ("year", "to warm", "to cold", "to deep", "deleted", "held", "locked", *STORED, f"{currency} of the year")
    growth = f"{forecast.growth.rows:,} rows a month ({forecast.growth_from})"
    title = f"{forecast.table}: {growth}; gigabytes at the end of each year"
    terminal.table(title, map(str, columns), map(_row, _years(forecast.months)))
    if any(month.held or month.locked for month in forecast.months):
        last = forecast.months[-1]
        kept = ", ".join(map(str, [*last.held, *last.locked])) or "none at the end"
        terminal.note(f"{forecast.table}: past their retention and kept: {kept}")


def _years(months: Sequence[ForecastMonth]) -> Iterable[Sequence[ForecastMonth]]:
    years: dict[int, list[ForecastMonth]] = {}
    for month in months:
        years.setdefault(month.month.year, []).append(month)
    return years.values()


def _row(year: Sequence[ForecastMonth]) -> list[str]:
    moved = [sum(len(month.moves.get(tier, ())) for month in year) for tier in (*STORED[1:], Tier.DELETED)]
    last = year[-1]
    sizes = [_gigabytes(last.tiers[tier].bytes, last.tiers[tier].unknown) for tier in STORED]
    costs = [cost for month in year for cost in (*month.costs.values(), month.other_cost)]
    known = [cost for cost in costs if cost is not None]
    empty = [month.costs[tier] is None and not month.tiers[tier].months for month in year for tier in STORED]
    empty += [month.other_cost is None and not month.other_bytes for month in year]
    is_whole = len(known) + sum(empty) == len(costs)
    total = f"{sum(known):,.2f}" if is_whole else f"{sum(known):,.2f} + unknown" if known else "unknown"
    return [str(last.month.year), *map(str, moved), str(len(last.held)), str(len(last.locked)), *sizes, total]


def _gigabytes(size: int, unknown: int) -> str:
    if unknown:
        return "unknown" if not size else f"{size / GIGABYTE:,.3f} + unknown"
    return f"{size / GIGABYTE:,.3f}"


def check(as_json: AsJson = False) -> None:
    """Check the policies against what was promised for archived months.

    Fails where a policy keeps rows for less than the locks of the store do. Names the months that were archived under a
    longer retention than the policy has now: nothing promises it to them but a lock.
    """
    with session() as settings:
        wrong, shorter = check_policies(settings), shortened_since(settings)
        policies = [(name, table.policy) for name, table in settings.registry.items()]
    if as_json:
        of_tables = [{"table": name, **policy.model_dump()} for name, policy in policies]
        write_json({"policies": of_tables, "broken": wrong, "shortened": shorter})
    else:
        _show_policies(policies)
        for text in shorter:
            terminal.note(text)
    if wrong:
        raise ConfigError("; ".join(wrong))
    if not as_json:
        typer.echo("no policy keeps rows for less than the locks of the store promise")


def _show_policies(policies: Iterable[tuple[str, TierPolicy]]) -> None:
    for name, policy in policies:
        ages = f"hot {policy.hot_months}, warm {policy.warm_months}, cold {policy.cold_months}"
        typer.echo(f"{name}: {ages}, deleted from {policy.retention_months} months on")
