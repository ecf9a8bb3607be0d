"""Which tests `make test` leaves out although they are not slow: the heavy ones, whose promise a quicker test watches.

``@pytest.mark.heavy("why")`` is one such test. ``@pytest.mark.sampled(2)`` is a test with many cases of one kind:
`make test` runs two of them, spread evenly over the list. `.ci/run` and `make test-all` run every heavy test and case;
with ``rest="slow"`` `make test-all` alone runs the others, and with ``heavy=3`` `.ci/run` runs three of those.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

_HEAVY = pytest.mark.heavy("another case of this test is in the sample")


def mark_unsampled(items: Sequence[pytest.Item]) -> None:
    """Mark as heavy the cases of each sampled test that are not in its sample. Cases that are slow are not counted."""
    cases: dict[tuple[pytest.Item | pytest.Collector | None, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sampled") and not item.get_closest_marker("slow"):
            cases[item.parent, getattr(item, "originalname", item.name)].append(item)
    for several in cases.values():
        marker = several[0].get_closest_marker("sampled")
        assert marker is not None
        (size,) = marker.args
        assert size >= 1, f"{several[0].nodeid}: a sample has at least one case"
        _mark(several, size, marker.kwargs)


def _mark(cases: Sequence[pytest.Item], size: int, options: Mapping[str, Any]) -> None:
    """Mark the cases that are not in the sample."""
    kept = _spread(size, len(cases))
    heavy = options.get("heavy", 0 if options.get("rest") == "slow" else len(cases))
    in_ci = _spread(size + heavy, len(cases)) if heavy else set()
    for number, item in enumerate(cases):
        if number not in kept:
            item.add_marker(_HEAVY if number in in_ci else pytest.mark.slow)


def _spread(size: int, cases: int) -> set[int]:
    """The numbers of ``size`` cases, spread evenly; of all where there are not more."""
    return {number * cases // size for number in range(size)}
