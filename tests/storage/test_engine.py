"""The engine's extensions: only those whose signature is good are loaded, and they are looked at once a process."""

from pathlib import Path

import duckdb
import pytest

from config import Settings
from storage import engine as engines
from storage.engine import engine, load_extension


@pytest.fixture(autouse=True)
def _nothing_verified_yet() -> None:
    engines._verified.cache_clear()


@pytest.fixture
def altered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an extension of which one bit is not what was signed."""
    file = tmp_path / "postgres_scanner.duckdb_extension"
    content = bytearray(Path(engines._extension_file("postgres_scanner")).read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(engines, "_extension_file", lambda _: str(file))
    return file


def test_an_extension_that_was_altered_is_not_loaded(in_folder: Settings, altered: Path) -> None:
    for _ in range(2):  # a refusal is not remembered as a yes
        with engine(in_folder) as duck, pytest.raises(duckdb.Error, match="signature"):
            load_extension(duck, "postgres_scanner")
    assert altered.exists()


def test_each_engine_has_the_extension_and_its_signature_is_worked_out_once(in_folder: Settings) -> None:
    for _ in range(3):
        with engine(in_folder) as duck:
            load_extension(duck, "postgres_scanner")
            loaded = "SELECT loaded FROM duckdb_extensions() WHERE extension_name = 'postgres_scanner'"
            assert duck.execute(loaded).fetchall() == [(True,)]
    assert engines._verified.cache_info().misses == 1
