"""Which tests `make test` leaves out although they are not slow: the heavy ones, whose promise a quicker test watches.

``@pytest.mark.heavy("why")`` is one such test. ``@pytest.mark.sampled(2)`` is a test with many cases of one kind:
`make test` runs two of them, spread evenly over the list. `.ci/run` and `make test-all` run every heavy test and case;
with ``rest="slow"`` `make test-all` alone runs the others.
"""

from collections import defaultdict
from collections.abc import Sequence

import pytest


def mark_unsampled(items: Sequence[pytest.Item]) -> None:
    """Mark as heavy the cases of each sampled test that are not in its sample. Cases that are slow are not counted."""
    cases: dict[tuple[pytest.Item | pytest.Collector | None, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sampled") and not item.get_closest_marker("slow"):
            cases[item.parent, getattr(item, "originalname", item.name)].append(item)
    for several in cases.values():
        kept = _kept(several[0], len(several))
        for number, item in enumerate(several):
            if number not in kept:
                item.add_marker(_rest(item))


def _rest(item: pytest.Item) -> pytest.MarkDecorator:
    """What marks a case that is not in the sample."""
    marker = item.get_closest_marker("sampled")
    assert marker is not None
    if marker.kwargs.get("rest") == "slow":
        return pytest.mark.slow
    return pytest.mark.heavy("another case of this test is in the sample")


def _kept(item: pytest.Item, cases: int) -> set[int]:
    """The numbers of the cases in the sample."""
    marker = item.get_closest_marker("sampled")
    assert marker is not None
    (size,) = marker.args
    assert size >= 1, f"{item.nodeid}: a sample has at least one case"
    return {number * cases // size for number in range(size)}
