"""Variables that look like settings but are not: each is reported with the nearest name, never ignored silently."""

import difflib
import logging
import os
from collections.abc import Collection, Iterable
from functools import cache

PREFIX = "TREASURY_"
# Read by others than the settings: which file they are in, where the project is, and where its tests run.
OTHERS = frozenset({"TREASURY_CONFIG", "TREASURY_PROJECT"})
_TESTS = "TREASURY_TEST_"
_NESTED = "__"
_LOG = logging.getLogger("treasury.settings")


def warn_of_misspelt(known: Collection[str]) -> None:
    """Warn, once in a process, of each variable of the environment that begins as a setting and is not ``known``.

    No error: others may set such names without meaning this project. Kubernetes gives every container the address of a
    service called "treasury" as TREASURY_SERVICE_HOST.
    """
    for name in misspelt(os.environ, known):
        _warn(name, nearest(name, known))


def misspelt(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Those of ``names`` that begin as a setting and are none."""
    ours = [name for name in names if name.startswith(PREFIX) and not name.startswith(_TESTS)]
    return sorted(name for name in ours if name not in OTHERS and name.partition(_NESTED)[0] not in known)


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that ``name`` is most like; None when it is like none."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.8)), None)


@cache
def _warn(name: str, meant: str | None) -> None:
    _LOG.warning("%s is not a setting and is ignored%s", name, f"; did you mean {meant}?" if meant else "")
