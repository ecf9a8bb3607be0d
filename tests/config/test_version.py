"""One version: what `pyproject.toml` states is what the command and the package show (and the API: tests/api)."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from config import version
from ledger.errors import ConfigError

PROJECT = Path(__file__).parents[2]
STATED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_command_shows_the_version() -> None:
    answer = CliRunner().invoke(app, ["--version"])
    assert answer.exit_code == 0
    assert answer.output == f"{STATED['version']}\n"


def test_a_checkout_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "PACKAGE", "treasury-that-nobody-installed")
    with pytest.raises(ConfigError, match="is not installed here; install it with `make setup`"):
        version.product_version()


def test_the_package_states_its_licence_and_its_pythons() -> None:
    stated = metadata.metadata("treasury")
    assert stated["License-Expression"] == "Apache-2.0"
    assert stated["Requires-Python"] == "<3.15,>=3.11"
    pythons = {line.rpartition(" ")[2] for line in stated.get_all("Classifier", []) if " :: 3." in line}
    assert pythons == {"3.11", "3.12", "3.13", "3.14"}
