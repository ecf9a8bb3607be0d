"""What is collected here."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave Schemathesis' tests out where its plugin is off, as in `make test`: they are all heavy or slow, and each
    worker would think of all their cases before the first test runs.
    """
    is_off = not config.pluginmanager.hasplugin("schemathesis")
    return True if is_off and collection_path.name == "test_schemathesis.py" else None
