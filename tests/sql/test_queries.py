"""Every query has one name, is loaded by it, and is used."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePosixPath

import pytest

from sql import queries

ROOT = Path(__file__).parents[2]
FOLDER = Path(queries.__file__).parent
ENGINE = ROOT / "tasks" / "reconciliation" / "engine"
# Every file of named queries: PostgreSQL's in one folder, the engine's beside the modules that run them.
FILES = sorted(
    file.relative_to(ROOT).as_posix()
    for folder in ("sql", "tasks", "api")
    for file in (ROOT / folder).rglob("*.sql")
    if "migrations" not in file.parts
)
CODE = {
    path: path.read_text()
    for folder in ("sql", "tasks", "flows", "api", "cli", "bench", "suppliers")
    for path in (ROOT / folder).rglob("*.py")
}


def _load(file: str) -> Mapping[str, str]:
    path = PurePosixPath(file)
    return queries.load(path.stem, ".".join(path.parent.parts))


def _named() -> list[tuple[str, str]]:
    return [(file, name) for file in FILES for name in _load(file)]


@pytest.mark.parametrize("file", FILES)
def test_every_name_in_a_file_loads_with_a_statement(file: str) -> None:
    announced = re.findall(r"-- name: (\S+)", (ROOT / file).read_text())
    assert announced
    assert list(_load(file)) == announced
    for body in _load(file).values():
        statement = re.sub(r"(?m)^--.*$", "", body).strip()
        assert re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH|COPY|CREATE|LOCK)\b", statement)
        assert not statement.endswith(";")


@pytest.mark.parametrize(("file", "name"), _named())
def test_every_query_is_used_by_code_that_loads_its_file(file: str, name: str) -> None:
    stem, folder = PurePosixPath(file).stem, (ROOT / file).parent
    call = f'load("{stem}")' if folder == FOLDER else f'load("{stem}", __package__)'
    loaders = [path for path, text in CODE.items() if call in text and folder in {FOLDER, path.parent}]
    # The modules of a package below the top share what one of them loads; all of reconciliation uses the engine's.
    packages = {path.parent for path in loaders if path.parent.parent != ROOT}
    if folder == ENGINE:
        packages |= {path.parent for path in CODE if ENGINE.parent in path.parents}
    users = [text for path, text in CODE.items() if path in loaders or path.parent in packages]
    assert any(f'"{name}"' in text for text in users), f"{file}: no code uses {name}"


def test_a_name_that_stands_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "twice.sql").write_text("-- name: one\nSELECT 1\n\n-- name: one\nSELECT 2\n")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(ValueError, match=r"twice\.sql names a query twice"):
        queries.load("twice")


def test_what_was_loaded_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        queries.load("catalog")["columns"] = "SELECT 1"  # type: ignore[index]  # the point of the test


def test_the_loader_stays_small() -> None:
    assert len((FOLDER / "__init__.py").read_text().splitlines()) < 40
