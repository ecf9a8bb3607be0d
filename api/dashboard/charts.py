"""Charts as SVG, made on the server. Pure: the same values give the same picture.

A picture is a box of 100 by 100 that the page stretches. Names, ends and figures are HTML around it, so text keeps its
size at any width. Lines differ by their dashes and are named in a legend. Every chart has its figures as a table, and
`<title>` and `<desc>` for those who do not see it. No attribute is a style: the policy of the pages refuses those.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from api.dashboard.formats import NOTHING

MOST_LINES = 4  # the dashes of the style sheet
_BOX = 100.0
_GRID = (25, 50, 75)
_GAP = 2.5  # of the usual distance of two points: farther apart nothing was measured between them
Number = float | Decimal  # a decimal is drawn as a float, and written with every digit
Formatter = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, and a value for each time of the chart; None where nothing was measured."""

    name: str
    values: Sequence[Number | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as the macro `chart` of `parts.html` shows it. Without ``rows`` nothing was measured.

    ``places`` are where each row is in the picture, from 0 to 100: `dashboard.js` finds the row under the pointer.
    """

    id: str
    title: str
    unit: str
    svg: Markup
    legend: tuple[str, ...]
    top: str
    bottom: str
    first: str
    last: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    places: tuple[str, ...]


def line(
    name: str,
    title: str,
    times: Sequence[datetime],
    series: Sequence[Series],
    form: Formatter,
    unit: str = "",
    *,
    least: float = 1.0,
    by_day: bool = False,
) -> Chart:
    """Lines over time, at most `MOST_LINES`. ``name`` is the id of the chart in its page; ``form`` writes a value.

    ``least`` is the end of the axis where no value is above 0. Times that stand for days are written ``by_day``.
    Without any value there are no rows.
    """
    assert len(series) <= MOST_LINES, title  # noqa: S101  # a slip of a page
    most = _end((value for curve in series for value in curve.values if value is not None), form, least)
    xs = _places(times)
    paths = [path for number, curve in enumerate(series, 1) for path in _line(number, _runs(xs, curve.values, most))]
    labels = [f"{moment:%Y-%m-%d}" if by_day else f"{moment:%Y-%m-%d %H:%M}" for moment in times]
    is_measured = any(value is not None for curve in series for value in curve.values)
    rows = tuple(
        (label, *(NOTHING if value is None else form(value) for value in values))
        for label, *values in zip(labels, *(curve.values for curve in series), strict=True)
        if is_measured
    )
    legend = tuple(curve.name for curve in series) if len(series) > 1 else ()
    columns = ("day" if by_day else "time (UTC)", *(curve.name for curve in series))
    described = _described(title, labels, series, form)
    svg = _svg(title, described, paths)
    return _chart(
        name, title, unit, svg, legend=legend, top=form(most), labels=labels, columns=columns, rows=rows, xs=xs
    )


def bars(
    name: str, title: str, labels: Sequence[str], values: Sequence[Number], form: Formatter, unit: str = ""
) -> Chart:
    """A bar for each label, in their order."""
    most = _end(values, form)
    width = _BOX / max(len(values), 1)
    drawn = [
        Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>').format(
            _place(place * width + width * 0.1), _place(_BOX - _height(value, most)), _place(width * 0.8),
            _place(_height(value, most)),
        )
        for place, value in enumerate(values)
    ]  # fmt: skip
    rows = tuple((label, form(value)) for label, value in zip(labels, values, strict=True))
    described = _described(title, labels, [Series(title, values)], form)
    svg, columns = _svg(title, described, drawn), ("", title)
    middles = [(place + 0.5) * width for place in range(len(values))]
    return _chart(
        name, title, unit, svg, legend=(), top=form(most), labels=labels, columns=columns, rows=rows, xs=middles
    )


def sparkline(title: str, values: Sequence[Number | None], form: Formatter) -> Markup:
    """A small line without axes, for a cell of a table. ``title`` says what it shows."""
    known = [value for value in values if value is not None]
    xs = [_BOX * place / max(len(values) - 1, 1) for place in range(len(values))]
    said = f"from {form(known[0])} to {form(known[-1])}" if known else "nothing was measured"
    return _svg(title, said, _line(1, _runs(xs, values, _top(known))), "spark", grid=False)


def _chart(
    name: str,
    title: str,
    unit: str,
    svg: Markup,
    *,
    legend: tuple[str, ...],
    top: str,
    labels: Sequence[str],
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    xs: Sequence[float],
) -> Chart:
    first, last = (labels[0], labels[-1]) if labels else ("", "")
    return Chart(name, title, unit, svg, legend, top, "0", first, last, columns, rows, tuple(map(_place, xs)))


def _svg(title: str, described: str, drawn: Sequence[Markup], kind: str = "", *, grid: bool = True) -> Markup:
    lines = Markup().join(Markup('<path class="grid-line" d="M0 {0}H100"/>').format(y) for y in _GRID if grid)
    shape = Markup('<svg class="{}" role="img" viewBox="0 0 100 100" preserveAspectRatio="none">').format(kind)
    named = Markup("<title>{}</title><desc>{}</desc>").format(title, described)
    return shape + named + lines + Markup().join(drawn) + Markup("</svg>")


def _described(title: str, labels: Sequence[str], series: Sequence[Series], form: Formatter) -> str:
    """The chart in a sentence for each line: its ends, its smallest and its largest value."""
    if not labels:
        return "Nothing was measured yet."
    sentences = []
    for curve in series:
        known = [value for value in curve.values if value is not None]
        said = (
            f"from {form(known[0])} to {form(known[-1])}, lowest {form(min(known))}, highest {form(max(known))}"
            if known
            else "nothing was measured"
        )
        sentences.append(f"{curve.name}: {said}.")
    return f"{labels[0]} to {labels[-1]}. {' '.join(sentences)}"


def _line(number: int, runs: Sequence[Sequence[str]]) -> list[Markup]:
    """The path of a line, and another one of its points that have no neighbour: a line of one point is hard to see."""
    lone = "".join(f"M{run[0]}h0" for run in runs if len(run) == 1)
    drawn = "".join(f"M{'L'.join(run)}" for run in runs if len(run) > 1)
    paths = [Markup('<path class="line line-{}" d="{}"/>').format(number, drawn)] if drawn or not lone else []
    return [*paths, *([Markup('<path class="line line-{} dots" d="{}"/>').format(number, lone)] if lone else [])]


def _runs(xs: Sequence[float], values: Sequence[Number | None], most: float) -> list[list[str]]:
    """The points of a line. Where a value is missing, or much time lies between two, it begins again."""
    steps = sorted(after - before for before, after in pairwise(xs))
    usual = steps[len(steps) // 2] if steps else 0.0
    runs: list[list[str]] = []
    before: float | None = None
    for x, value in zip(xs, values, strict=True):
        if value is None:
            before = None
            continue
        if before is None or x - before > _GAP * usual:
            runs.append([])
        runs[-1].append(f"{_place(x)} {_place(_BOX - _height(value, most))}")
        before = x
    return runs


def _places(times: Sequence[datetime]) -> list[float]:
    """Where each time is on the axis: in proportion, so that a gap shows as one."""
    if len(times) < 2:
        return [_BOX] * len(times)
    span = (times[-1] - times[0]).total_seconds() or 1.0
    return [_BOX * (moment - times[0]).total_seconds() / span for moment in times]


def _end(values: Iterable[Number], form: Formatter, least: float = 1.0) -> float:
    """The end of an axis: as `_top`, and large enough that ``form`` does not write it as it writes 0."""
    most, powers = _top(values, least), 0
    while form(most) == form(0.0) and powers < 12:
        most, powers = most * 10, powers + 1
    return most


def _top(values: Iterable[Number], least: float = 1.0) -> float:
    """A round number at or above every value: 1, 2, 2.5 or 5 times a power of ten; ``least`` where none is above 0."""
    most = max(map(float, values), default=0.0)
    if most <= 0:
        return least
    power = 10.0 ** len(str(int(most))[1:]) if most >= 1 else 10.0 ** -_leading_zeros(most)
    return float(next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= most * (1 - 1e-9)))


def _leading_zeros(value: float) -> int:
    """The places that a number below 1 must be moved by until its first digit is before the point."""
    places = 0
    while value < 1 and places < 12:
        value, places = value * 10, places + 1
    return places


def _height(value: Number, most: float) -> float:
    return _BOX * min(max(float(value), 0.0), most) / most


def _place(value: float) -> str:
    """A coordinate with two decimal places at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
