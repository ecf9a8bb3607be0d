"""What capacity planning calls measured is what the page of measurements says."""

import re
from collections.abc import Iterator

import pytest

from tests.docs.test_documents import TEXTS

_NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?")
_LINK = re.compile(r"\(benchmarks\.md#([a-z-]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """The text below each heading, up to the next one, by the anchor of the heading."""
    parts = _HEADING.split(text)
    return {title.lower().replace(" ", "-"): body for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def measured(text: str) -> Iterator[tuple[str, str]]:
    """The cells below `measured`, each with the anchor of its benchmark; `the same` repeats the one above."""
    header: list[str] = []
    anchor = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells or not header:
            header, anchor = cells, ""
        elif "measured" in header and "benchmark" in header and len(cells) == len(header):
            place = cells[header.index("benchmark")]
            found = _LINK.search(place)
            anchor = found[1] if found else anchor
            if found or place == "the same":
                yield cells[header.index("measured")], anchor


CELLS = list(measured(TEXTS["docs/capacity.md"]))


def test_the_tables_of_measured_figures_are_read() -> None:
    assert len(CELLS) > 10


@pytest.mark.parametrize(("cell", "anchor"), CELLS)
def test_a_measured_figure_is_that_of_the_measurements(cell: str, anchor: str) -> None:
    there = set(_NUMBER.findall(sections(TEXTS["docs/benchmarks.md"])[anchor]))
    assert set(_NUMBER.findall(cell)) <= there
