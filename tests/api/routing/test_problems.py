"""Which texts of errors a client is shown, and which are kept."""

import pytest

from api.routing import problems
from api.routing.problems import CONFLICT
from ledger.errors import ConflictError, RefusalError


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (RefusalError("break 7 is resolved already"), "break 7 is resolved already"),
        (ConflictError("PostgreSQL TR001: row 7 of another client is completed"), CONFLICT.detail),
    ],
)
def test_a_conflict_is_told_in_our_own_words_or_in_none(error: ConflictError, detail: str) -> None:
    shown = problems.document(error)
    assert (shown["status"], shown["type"], shown["detail"]) == (409, CONFLICT.type, detail)
