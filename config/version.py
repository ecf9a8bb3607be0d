"""The version of the product: `pyproject.toml` states it, and what shows it reads it from the installed package."""

from functools import cache
from importlib import metadata

from ledger.errors import ConfigError

PACKAGE = "treasury"


def product_version() -> str:
    """The version of the installed package, such as ``0.1.0``. Raises ConfigError where it is not installed."""
    try:
        return _version_of(PACKAGE)
    except metadata.PackageNotFoundError:
        raise ConfigError(f"the package {PACKAGE} is not installed here; install it with `make setup`") from None


@cache
def _version_of(package: str) -> str:
    """The version of an installed package. Each API asks; reading the package's description takes 10 ms."""
    return metadata.version(package)
