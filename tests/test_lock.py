"""`requirements.lock`: one file with hashes and no registry for every Python. Also the Python that `make` takes."""

import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1]
PYTHONS = ("3.11.0", "3.11.2", "3.11.14", "3.12.1", "3.13.0", "3.14.0", "3.14.9")
STATED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (PROJECT / "requirements.lock").read_text(encoding="utf-8")


def locked(python: str, platform: str = "linux") -> dict[str, Requirement]:
    """The lines of the lock that an environment with ``python`` installs, by name."""
    environment: dict[str, str | AbstractSet[str]] = {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "sys_platform": platform,
    }
    lines = [Requirement(line.removesuffix("\\")) for line in LOCK.splitlines() if re.match(r"[a-z0-9]", line)]
    chosen = [line for line in lines if line.marker is None or line.marker.evaluate(environment)]
    by_name: dict[str, Requirement] = {canonicalize_name(line.name): line for line in chosen}
    assert len(by_name) == len(chosen), "a package is locked twice"
    return by_name


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_gets_what_the_project_asks_for(python: str) -> None:
    lines = locked(python)
    asked = [*STATED["dependencies"], *STATED["optional-dependencies"]["dev"]]
    for wanted in map(Requirement, asked):
        [version] = lines[canonicalize_name(wanted.name)].specifier
        assert version.operator == "=="
        assert wanted.specifier.contains(version.version), f"{wanted} on {python}: the lock has {version}"


def test_redis_gets_what_it_needs_before_python_3_11_3() -> None:
    assert "async-timeout" in locked("3.11.2")
    assert "async-timeout" not in locked("3.11.3")


def test_every_line_has_hashes_and_none_names_a_registry() -> None:
    for entry in re.split(r"\n(?=[a-z0-9])", LOCK)[1:]:
        assert " --hash=sha256:" in entry, entry.splitlines()[0]
    assert "://" not in LOCK
    assert not re.search(
        r"^\s*-", re.sub(r"^    --hash=sha256:[0-9a-f]{64}", "", LOCK, flags=re.MULTILINE), re.MULTILINE
    )


def python_named(folder: Path, name: str, before: str = "") -> None:
    """A program ``name`` in ``folder`` that is this Python, which first does what the shell code ``before`` says."""
    script = folder / name
    script.write_text(f'#!/bin/sh\n{before}\nexec "{sys.executable}" "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)


def chosen_by_make(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """What `make setup` would do without an environment, on a machine whose first programs are those of ``folder``."""
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    command = ["make", "-n", "-C", str(PROJECT), f"VENV={folder}/venv", "setup", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of programs in which every Python that `make` could look for is one that does not start."""
    for name in ("python3.14", "python3.13", "python3.12", "python3.11", "python3", "python"):
        python_named(tmp_path, name, "exit 1")
    return tmp_path


def test_make_takes_the_newest_python_that_starts(bare: Path) -> None:
    python_named(bare, "python3.13")
    python_named(bare, "python3.11")
    assert f"{bare}/python3.13 -m venv" in chosen_by_make(bare).stdout


def test_make_passes_over_a_python_that_cannot_make_an_environment(bare: Path, tmp_path: Path) -> None:
    without = tmp_path / "without"
    without.mkdir()
    (without / "ensurepip.py").write_text("raise ImportError('Debian has it in a package of its own')\n")
    python_named(bare, "python3.14", f'export PYTHONPATH="{without}"')
    python_named(bare, "python3.12")
    assert f"{bare}/python3.12 -m venv" in chosen_by_make(bare).stdout


def test_make_passes_over_a_python_that_the_lock_is_not_made_for(bare: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 15, 0, 'final', 0)\n")
    python_named(bare, "python3", f'export PYTHONPATH="{newer}"')
    python_named(bare, "python")
    assert f"{bare}/python -m venv" in chosen_by_make(bare).stdout


def test_make_says_what_to_do_where_no_python_fits(bare: Path) -> None:
    command = ["make", "-C", str(PROJECT), f"VENV={bare}/venv", "setup"]
    environment = {"PATH": f"{bare}:/usr/bin:/bin"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert answer.returncode != 0
    assert "No CPython 3.11 to 3.14 with venv and ensurepip was found" in answer.stderr
    assert not (bare / "venv").exists()


def test_make_takes_the_python_that_is_named(bare: Path) -> None:
    python_named(bare, "python3.13")
    assert "/opt/own/python -m venv" in chosen_by_make(bare, "PYTHON=/opt/own/python").stdout
