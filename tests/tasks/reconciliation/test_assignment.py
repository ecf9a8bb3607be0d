"""Who goes with whom: the best total, one to one, and never a guess between two that are nearly as good."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reconciliation.engine.assignment import Assignment, Candidates, assign

MARGIN = 0.02
Edges = dict[tuple[int, int], float]


def solve(edges: Edges, margin: float = MARGIN, limit: int = 64) -> Assignment:
    pairs = list(edges)
    return assign(
        Candidates(
            np.array([line for line, _ in pairs], np.int64),
            np.array([row for _, row in pairs], np.int64),
            np.array([edges[pair] for pair in pairs], np.float64),
        ),
        margin,
        limit,
    )


def pairs(candidates: Candidates) -> set[tuple[int, int]]:
    return set(zip(candidates.lines.tolist(), candidates.rows.tolist(), strict=True))


def best_total(edges: Edges, without: tuple[int, int] | None = None) -> float:
    """By trying every set of pairs."""
    allowed = [pair for pair in edges if pair != without]
    best = 0.0
    for size in range(min(len(allowed), 4) + 1):
        for chosen in itertools.combinations(allowed, size):
            if len({line for line, _ in chosen}) == len({row for _, row in chosen}) == size:
                best = max(best, sum(edges[pair] for pair in chosen))
    return best


edges_of_four = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(85, 100).map(lambda score: score / 100), max_size=9
)


@given(edges_of_four)
def test_the_assignment_is_one_to_one_and_has_the_best_total(edges: Edges) -> None:
    found = solve(edges)
    taken = pairs(found.firm) | pairs(found.doubtful)
    assert len({line for line, _ in taken}) == len({row for _, row in taken}) == len(taken)
    assert math.isclose(sum(edges[pair] for pair in taken), best_total(edges), abs_tol=1e-9)


@pytest.mark.heavy("the best assignment is tested beside it")
@given(edges_of_four)
def test_a_firm_pair_is_in_every_assignment_that_is_nearly_as_good(edges: Edges) -> None:
    found = solve(edges)
    best = best_total(edges)
    for pair in pairs(found.firm):
        assert best - best_total(edges, without=pair) > MARGIN
    for pair in pairs(found.doubtful):
        assert best - best_total(edges, without=pair) <= MARGIN + 1e-6


@pytest.mark.parametrize(("second", "firm"), [(0.979, True), (0.981, False), (1.0, False)])
def test_a_second_best_within_the_margin_makes_a_suggestion(second: float, firm: bool) -> None:
    found = solve({(1, 1): 1.0, (1, 2): second})
    assert (pairs(found.firm), pairs(found.doubtful)) == (({(1, 1)}, set()) if firm else (set(), found_doubt(second)))


def found_doubt(second: float) -> set[tuple[int, int]]:
    """Of two equals either may be suggested; the better of two that are not."""
    found = pairs(solve({(1, 1): 1.0, (1, 2): second}).doubtful)
    assert len(found) == 1
    assert second == 1.0 or found == {(1, 1)}
    return found


def test_greed_does_not_win_over_the_whole() -> None:
    """The best single pair would leave the others with less than the best for all."""
    found = solve({(1, 1): 0.95, (1, 2): 1.0, (2, 2): 0.97})
    assert pairs(found.firm) == {(1, 1), (2, 2)}


def test_nothing_gives_nothing() -> None:
    found = solve({})
    assert (found.firm.lines.size, found.doubtful.lines.size, found.crowded) == (0, 0, 0)


def test_a_tangle_of_thousands_of_equals_is_left_for_people() -> None:
    rows = 2_000
    edges = {(line, (line + step) % rows): 0.99 for line in range(rows) for step in range(6)}
    found = solve(edges)
    assert (found.firm.lines.size, found.doubtful.lines.size) == (0, 0)
    assert found.crowded == len(edges)


def test_a_long_chain_is_cut_at_its_weak_links_and_solved() -> None:
    """Each line has its own row and, clearly worse, its neighbour's: one large component, no doubt in it."""
    rows = 500
    edges = {(line, line): 0.99 for line in range(rows)} | {(line, line + 1): 0.90 for line in range(rows - 1)}
    found = solve(edges)
    assert pairs(found.firm) == {(line, line) for line in range(rows)}
    assert found.crowded == 0


def test_in_a_cut_chain_a_pair_with_a_near_rival_is_still_only_suggested() -> None:
    rows = 200
    edges = {(line, line): 0.99 for line in range(rows)} | {(line, line + 1): 0.90 for line in range(rows - 1)}
    edges[(7, 8)] = 0.985
    found = solve(edges)
    assert {(7, 7), (8, 8)} & pairs(found.firm) == set()
    assert len(pairs(found.firm)) == rows - 2
