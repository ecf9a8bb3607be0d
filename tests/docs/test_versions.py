"""Decision 0010 gives the reason of every upper bound in pyproject.toml, and of no other."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[2]
NEXT_MAJOR = "below the next major version"


def _bounded() -> dict[str, SpecifierSet]:
    """The range of each package that has an upper bound, by its name."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    requirements = [Requirement(line) for line in lines]
    return {
        one.name: one.specifier
        for one in requirements
        if any(part.operator in ("<", "<=", "==", "~=") for part in one.specifier)
    }


def _rows() -> Iterator[tuple[str, str, str]]:
    """The package, the range and the reason of every row of the record; a row of several packages counts for each."""
    text = (PROJECT / "docs/decisions/0010-versions.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "package":
            yield from ((name, cells[1], cells[-1]) for name in cells[0].split(", "))


ROWS = list(_rows())
BOUNDED = _bounded()


def _is_next_major(specifier: SpecifierSet) -> bool:
    bounds = {part.operator: Version(part.version) for part in specifier}
    return set(bounds) == {">=", "<"} and bounds["<"] == Version(str(bounds[">="].major + 1))


@pytest.mark.parametrize("package", BOUNDED)
def test_every_upper_bound_has_its_reason(package: str) -> None:
    rows = [row for row in ROWS if row[0] == package]
    assert len(rows) == 1, f"decision 0010 has {len(rows)} rows of {package}"
    _, said, reason = rows[0]
    assert len(reason.split()) > 3
    if said == NEXT_MAJOR:
        assert _is_next_major(BOUNDED[package]), f"{package}{BOUNDED[package]}"
    else:
        assert re.fullmatch("`([^`]+)`", said), said
        assert SpecifierSet(said.strip("`")) == BOUNDED[package]


def test_the_record_has_no_other_bound() -> None:
    others = {name for name, _, _ in ROWS} - set(BOUNDED)
    assert others == {"fastapi"}  # Prefect bounds it, and pyproject.toml does not


@pytest.mark.parametrize(
    ("bounds", "is_next"), [(">=5.2,<6", True), (">=5.2,<5.3", False), (">=5.2,<7", False), ("==5.2", False)]
)
def test_the_next_major_version_is_the_next_one(bounds: str, is_next: bool) -> None:
    assert _is_next_major(SpecifierSet(bounds)) == is_next
