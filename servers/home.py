"""The home: the folder that the servers' data, keys and logs are in."""

from pathlib import Path

from ledger.errors import ConfigError

LOGIN_KEYS = "treasury-"  # how the names of the passwords of PostgreSQL's logins begin


def require(home: Path, database: bool) -> None:
    """Raise ConfigError unless ``home`` is there, and with ``database`` an embedded PostgreSQL in it. Makes nothing.

    Without it a command that is run in another folder would make an empty home there and show empty results.
    """
    if not home.is_dir():
        missing = f"no treasury home at {home}"
    elif database and not _has_cluster(home):
        require_unused(home)
        missing = f"the treasury home at {home} has no database"
    else:
        return
    demo = home / "demo"
    there = f"; the demo's home is {demo}" if _has_cluster(demo) else ""
    raise ConfigError(
        f"{missing}: run `treasury up` to create it, or set TREASURY_HOME to another home, or set the URLs of real"
        f" servers (TREASURY_DATABASE_URL and others){there}"
    )


def _has_cluster(home: Path) -> bool:
    """Return whether a PostgreSQL was set up to its end. An empty folder may be where a volume should be mounted."""
    return any(home.glob("postgres/*[0-9]/PG_VERSION"))


def require_unused(home: Path) -> None:
    """Raise ConfigError when PostgreSQL has run in ``home``: it has made passwords for its logins. Makes nothing.

    Call it when no cluster is found: a new and empty ledger must not replace one that is elsewhere.
    """
    if any((home / "keys").glob(f"{LOGIN_KEYS}*")):
        raise ConfigError(
            f"the treasury home at {home} was used, and {home / 'postgres'} does not hold the data of this PostgreSQL."
            " Mount or restore them, or set TREASURY_HOME to a new folder if an empty ledger is meant"
        )
