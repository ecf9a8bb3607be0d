"""The unprivileged account that PostgreSQL runs under when the project is run by root (PostgreSQL refuses root)."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import ConfigError

NAMES = ("postgres", "treasury")  # a distribution's own account first


@dataclass(frozen=True, slots=True)
class Account:
    """A system account by number."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give ``path`` to this account."""
        os.chown(path, self.uid, self.gid)

    def reach(self, path: Path) -> None:
        """Let the account pass through the folders above ``path``: search permission, no permission to list.

        Needed where root works below a closed folder such as /root.
        """
        for folder in path.absolute().parents:
            mode = folder.stat().st_mode
            if folder.stat().st_uid != self.uid and not mode & stat.S_IXOTH:
                folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def unprivileged() -> Account | None:
    """None for an ordinary user, who runs the servers as himself; for root the account to run PostgreSQL under.

    Made with `useradd` when the machine has none. Raises ConfigError where that is not possible. Safe to rerun.
    """
    if os.geteuid() != 0:
        return None
    account = _existing()
    if account is None:
        _create(NAMES[-1])
        account = _existing()
    if account is None:
        raise ConfigError("PostgreSQL does not run as root and no account could be made; run as an ordinary user")
    return account


def _existing() -> Account | None:
    for name in NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return None


def _create(name: str) -> None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")
    if useradd is None:
        return
    argv = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    # Two commands may do this at once: the second one fails, and finds the account.
    subprocess.run(argv, check=False, capture_output=True)  # noqa: S603
