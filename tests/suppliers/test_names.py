"""Nothing but a supplier's own folder names it: what it can do beyond the others is declared by its definition."""

import re
from pathlib import Path

import pytest

from suppliers.registry import PACKAGES
from tests.tasks.archiving.ledger import PROJECT

NAMES = re.compile("|".join(one.rpartition(".")[2] for one in PACKAGES), re.IGNORECASE)
# Where a supplier may be named, and why.
ALLOWED = {
    "suppliers/registry.py": "the one list of the project's own folders",
    "suppliers/__init__.py": "says which folders there are",
    "suppliers/simulation/": "one server stands in for all of the project's own",
    "config/suppliers.py": "the settings of each, as fields with their defaults",
    "ledger/transactions.py": "the words of the column `supplier` that the project brings, for the API's document",
    "tasks/synthetic/payments.py": "made-up rows",
    "cli/demo_suppliers.py": "the demonstration's made-up day",
}
FOLDERS = ("api", "cli", "config", "flows", "ledger", "servers", "sql", "storage", "suppliers", "tasks")
OWN = tuple(one.replace(".", "/") + "/" for one in PACKAGES)


def sources() -> list[str]:
    """Every module and query of the project, as paths from its folder; not the suppliers' own folders."""
    found = [path for folder in FOLDERS for path in (PROJECT / folder).rglob("*") if path.suffix in {".py", ".sql"}]
    names = sorted(str(path.relative_to(PROJECT)) for path in found)
    return [name for name in names if not name.startswith(OWN)]


def named(path: Path) -> list[str]:
    """The lines of a file that name a supplier, comments and docstrings too, but for the examples of a command."""
    lines = enumerate(path.read_text().splitlines(), 1)
    found = [(number, line.strip()) for number, line in lines if NAMES.search(line)]
    return [f"{path}:{number}: {line}" for number, line in found if not line.startswith("treasury ")]


def test_no_other_source_names_a_supplier() -> None:
    searched = [name for name in sources() if not name.startswith(tuple(ALLOWED))]
    assert len(searched) > 200
    assert [line for name in searched for line in named(PROJECT / name)] == []


@pytest.mark.parametrize("place", ALLOWED)
def test_each_exception_is_needed(place: str) -> None:
    assert any(named(PROJECT / name) for name in sources() if name.startswith(place))
