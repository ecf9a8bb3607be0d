"""Assignment among scored candidates: the best pairs, one to one, and what is too close to call.

Pure: arrays in, arrays out. A tangle of candidates (a connected component) is solved as a whole while it is small. One
that stays large after its weak edges are cut is left for people, so the work grows with the number of candidates.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

# Scores are sums of a few floats: what differs by less than this is equal.
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs that may belong together: line numbers, row numbers, scores. No pair twice."""

    lines: Integers
    rows: Integers
    scores: Scores

    def take(self, chosen: npt.NDArray[np.bool_] | Integers) -> "Candidates":
        """The candidates at these places."""
        return Candidates(self.lines[chosen], self.rows[chosen], self.scores[chosen])


@dataclass(frozen=True, slots=True)
class Assignment:
    """``firm`` pairs are matches; ``doubtful`` ones are the best guess where another is nearly as good.

    ``crowded`` is the number of candidates in tangles too large to be solved.
    """

    firm: Candidates
    doubtful: Candidates
    crowded: int


def assign(candidates: Candidates, tie_margin: float, component_limit: int) -> Assignment:
    """The assignment with the highest total score within every component.

    A pair is firm when every assignment without it is worse by more than ``tie_margin``.
    """
    components = _components(candidates)
    small, large = _by_size(candidates, components, component_limit)
    rest = candidates.take(large)
    crowded = 0
    if rest.lines.size:
        cut = rest.take(_mutual(rest, tie_margin))
        again = _components(cut)
        now_small, still_large = _by_size(cut, again, component_limit)
        crowded = int(still_large.sum())
        # What was cut away may have been nearly as good as what is left: such a pair is never firm.
        untied = _untied(rest, cut, tie_margin)
        firm_cut, doubtful_cut = _solve_all(cut, again, now_small, tie_margin)
        sure = untied[firm_cut]
        cut_firm, cut_doubtful = firm_cut[sure], np.concatenate([doubtful_cut, firm_cut[~sure]])
    firm, doubtful = _solve_all(candidates, components, small, tie_margin)
    if rest.lines.size:
        return Assignment(
            _joined(candidates.take(firm), cut.take(cut_firm)),
            _joined(candidates.take(doubtful), cut.take(cut_doubtful)),
            crowded,
        )
    return Assignment(candidates.take(firm), candidates.take(doubtful), crowded)


def _joined(candidates: Candidates, other: Candidates) -> Candidates:
    return Candidates(
        np.concatenate([candidates.lines, other.lines]),
        np.concatenate([candidates.rows, other.rows]),
        np.concatenate([candidates.scores, other.scores]),
    )


def _components(candidates: Candidates) -> Integers:
    """For every candidate the number of the component that it belongs to."""
    if not candidates.lines.size:
        return np.empty(0, np.int64)
    lines, line_at = np.unique(candidates.lines, return_inverse=True)
    rows, row_at = np.unique(candidates.rows, return_inverse=True)
    size = len(lines) + len(rows)
    from scipy.sparse import coo_array  # noqa: PLC0415  # half a second that only a matcher pays
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415  # the same

    graph = coo_array((np.ones(len(line_at), np.int8), (line_at, row_at + len(lines))), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    components: Integers = labels[line_at].astype(np.int64)
    return components


def _by_size(
    candidates: Candidates, components: Integers, limit: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which candidates are in components of at most ``limit`` lines and rows, and which are not."""
    if not components.size:
        nothing = np.zeros(0, bool)
        return nothing, nothing
    count = int(components.max()) + 1
    ends = np.zeros(count, np.int64)
    for side in (candidates.lines, candidates.rows):
        _, first = np.unique(side, return_index=True)
        ends += np.bincount(components[first], minlength=count)
    small = ends[components] <= limit
    return small, ~small


def _best(keys: Integers, scores: Scores) -> Scores:
    """For every candidate the best score that its key has anywhere."""
    _, at = np.unique(keys, return_inverse=True)
    best = np.full(int(at.max()) + 1, -np.inf)
    np.maximum.at(best, at, scores)
    best_scores: Scores = best[at]
    return best_scores


def _mutual(candidates: Candidates, margin: float) -> npt.NDArray[np.bool_]:
    """Candidates that are the best of both their ends, or nearly."""
    floor = candidates.scores + margin + _EPSILON
    near: npt.NDArray[np.bool_] = (floor >= _best(candidates.lines, candidates.scores)) & (
        floor >= _best(candidates.rows, candidates.scores)
    )
    return near


def _untied(whole: Candidates, kept: Candidates, margin: float) -> npt.NDArray[np.bool_]:
    """Return which of the ``kept`` have, in the ``whole``, no other candidate at either end within the margin."""
    result = np.ones(kept.lines.size, bool)
    for side, mine in ((whole.lines, kept.lines), (whole.rows, kept.rows)):
        order = np.lexsort((-whole.scores, side))
        keys, first, count = np.unique(side[order], return_index=True, return_counts=True)
        second = np.where(count > 1, whole.scores[order][np.minimum(first + 1, len(order) - 1)], -np.inf)
        result &= kept.scores - second[np.searchsorted(keys, mine)] > margin + _EPSILON
    return result


def _solve_all(
    candidates: Candidates, components: Integers, wanted: npt.NDArray[np.bool_], margin: float
) -> tuple[Integers, Integers]:
    """Places of firm and of doubtful pairs, over all ``wanted`` components. A lone candidate is firm by itself."""
    places = np.flatnonzero(wanted)
    order = places[np.argsort(components[places], kind="stable")]
    starts = np.flatnonzero(np.diff(components[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    firm, doubtful = [order[starts[sizes == 1]]], [np.empty(0, np.int64)]
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        group = order[start : start + size]
        sure, unsure = _solve(candidates.take(group), margin)
        firm.append(group[sure])
        doubtful.append(group[unsure])
    return np.concatenate(firm), np.concatenate(doubtful)


def _solve(group: Candidates, margin: float) -> tuple[Integers, Integers]:
    """Within one component: which candidates the best assignment takes, the firm ones and the doubtful ones."""
    _, line_at = np.unique(group.lines, return_inverse=True)
    _, row_at = np.unique(group.rows, return_inverse=True)
    gains = np.zeros((int(line_at.max()) + 1, int(row_at.max()) + 1))  # 0: staying alone
    gains[line_at, row_at] = group.scores
    place = np.full(gains.shape, -1, np.int64)
    place[line_at, row_at] = np.arange(group.lines.size)
    total, taken = _optimum(gains)
    firm: list[int] = []
    doubtful: list[int] = []
    for line, row in taken:
        kept = gains[line, row]
        gains[line, row] = 0
        without, _ = _optimum(gains)
        gains[line, row] = kept
        (firm if total - without > margin + _EPSILON else doubtful).append(int(place[line, row]))
    return np.array(firm, np.int64), np.array(doubtful, np.int64)


def _optimum(gains: Scores) -> tuple[float, list[tuple[int, int]]]:
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  # the same

    lines, rows = linear_sum_assignment(gains, maximize=True)
    taken = [(int(line), int(row)) for line, row in zip(lines, rows, strict=True) if gains[line, row] > 0]
    return float(gains[lines, rows].sum()), taken
