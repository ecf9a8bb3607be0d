"""Charts are SVG that the policy of the pages allows, with their figures as text and as a table."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard import charts
from api.dashboard.charts import Series
from api.dashboard.formats import NOTHING
from api.dashboard.rendering import environment
from tests.api.dashboard.person import Document

START = datetime(2026, 11, 30, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</title><script>alert(1)</script>\u202e&"


def times(count: int) -> list[datetime]:
    return [START + timedelta(minutes=minute) for minute in range(count)]


def whole(value: float) -> str:
    return f"{value:g}"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  # of our own making


def test_a_line_chart_names_its_lines_and_tells_them_apart_by_dashes() -> None:
    series = [Series("p50", [1, 2, 3]), Series("p95", [2, 4, None]), Series("p99", [None, 5, 20])]
    chart = charts.line("latency", "Latency", times(3), series, whole, "ms")

    svg = parsed(chart.svg)
    assert svg.get("role") == "img"
    assert svg.findtext("title") == "Latency"
    assert "p99: from 5 to 20, lowest 5, highest 20." in (svg.findtext("desc") or "")
    lines = [path.get("class") for path in svg.findall("path") if "line-" in (path.get("class") or "")]
    assert [one for one in lines if one != "grid-line"] == ["line line-1", "line line-2", "line line-3"]
    assert chart.legend == ("p50", "p95", "p99")
    assert chart.columns == ("time (UTC)", "p50", "p95", "p99")
    assert chart.rows[2] == ("2026-11-30 00:02", "3", NOTHING, "20")
    assert (chart.top, chart.first, chart.last) == ("20", "2026-11-30 00:00", "2026-11-30 00:02")


def test_a_missing_value_and_a_gap_in_time_break_the_line() -> None:
    moments = [*times(3), START + timedelta(minutes=30), START + timedelta(minutes=31)]
    chart = charts.line("x", "X", moments, [Series("x", [1, None, 1, 1, 1])], whole)
    paths = {one.get("class"): one.get("d") or "" for one in parsed(chart.svg).findall("path")}
    assert (paths["line line-1"].count("M"), paths["line line-1"].count("L")) == (1, 1)
    assert paths["line line-1 dots"].count("M") == 2  # points without a neighbour are dots that can be seen


def test_a_day_alone_is_a_dot() -> None:
    paths = [one.get("class") for one in parsed(charts.line("x", "X", times(1), [Series("x", [1])], whole).svg)]
    assert "line line-1 dots" in paths
    assert "line line-1" not in paths


def test_the_place_of_each_row_is_that_of_its_point() -> None:
    moments = [START, START + timedelta(minutes=30), START + timedelta(minutes=60)]
    assert charts.line("x", "X", moments, [Series("x", [1, None, 3])], whole).places == ("0", "50", "100")
    assert charts.bars("b", "B", ["one", "two"], [1, 2], whole).places == ("25", "75")


def test_bars_stand_on_the_ground_and_reach_their_values() -> None:
    chart = charts.bars("b", "Rows", ["one", "two", "none"], [10, 5, 0], whole)
    heights = [float(bar.get("height") or 0) for bar in parsed(chart.svg).findall("rect")]
    assert heights == [100, 50, 0]
    assert chart.rows == (("one", "10"), ("two", "5"), ("none", "0"))


def test_bars_of_decimals_are_written_with_every_digit() -> None:
    amounts = [Decimal("1.005"), Decimal("90071992547409.93"), Decimal("0.004")]
    chart = charts.bars("b", "Amount", ["one", "two", "three"], amounts, lambda value: f"{Decimal(str(value)):f}")
    assert [text for _, text in chart.rows] == ["1.005", "90071992547409.93", "0.004"]
    assert "lowest 0.004, highest 90071992547409.93" in chart.svg


@pytest.mark.parametrize(
    ("values", "top"),
    [([3], "5"), ([10], "10"), ([11], "20"), ([241], "250"), ([0.03], "0.05"), ([0], "1"), ([None], "1"), ([], "1")],
)
def test_the_axis_ends_at_a_round_number(values: list[float | None], top: str) -> None:
    assert charts.line("x", "X", times(len(values)), [Series("x", values)], whole).top == top


def test_the_axis_does_not_end_at_what_is_written_as_nothing() -> None:
    chart = charts.line("x", "X", times(2), [Series("x", [0.002, 0.001])], lambda value: f"{value:.1f}")
    assert (chart.top, chart.bottom) == ("0.2", "0")


def test_nothing_measured_is_said_and_not_drawn() -> None:
    chart = charts.line("x", "X", [], [Series("x", [])], whole)
    macro = environment().get_template("parts.html").module.chart(chart)  # type: ignore[attr-defined]
    assert "Nothing was measured yet." in macro
    assert "<svg" not in macro


def test_hostile_names_are_text() -> None:
    chart = charts.line(HOSTILE, HOSTILE, times(2), [Series(HOSTILE, [1, 2]), Series("b", [1, 1])], whole, HOSTILE)
    shown = str(environment().get_template("parts.html").module.chart(chart))  # type: ignore[attr-defined]
    assert "<script" not in shown
    assert Document(shown).all("script") == []
    spark = charts.sparkline(HOSTILE, [1, None, 2], whole)
    assert parsed(spark).findtext("title") == HOSTILE


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e12)), max_size=50))
def test_every_point_is_in_the_box_and_nothing_is_a_style(values: list[float | None]) -> None:
    chart = charts.line("x", "X", times(len(values)), [Series("x", values)], whole)
    assert not re.search(r"\sstyle=|<style|<script|\son\w+=", chart.svg)
    for path in parsed(chart.svg).findall("path"):
        numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", path.get("d") or "")]
        assert all(0 <= one <= 100 for one in numbers)
    assert len(chart.rows) == (len(values) if any(value is not None for value in values) else 0)


def test_a_chart_of_days_has_days_and_no_times() -> None:
    days = [datetime(2026, 2, number, tzinfo=UTC) for number in (1, 2, 3)]
    chart = charts.line("rates", "Matched", days, [charts.Series("flash", [1.0, None, 0.5])], str, by_day=True)
    assert (chart.first, chart.last, chart.columns) == ("2026-02-01", "2026-02-03", ("day", "flash"))
    assert chart.rows[1] == ("2026-02-02", NOTHING)
    assert "00:00" not in chart.svg
