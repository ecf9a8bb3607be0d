"""The one list of the objects that an archived month has."""

import re
from pathlib import Path

from ledger.archive_objects import EVERY_PART, ObjectKind
from sql.connection import connect

QUERIES = Path(__file__).parents[2] / "sql" / "queries"


def test_the_view_lists_the_kinds_of_the_program_in_their_order(dsn: str) -> None:
    with connect(dsn, "tests") as connection:
        definition = connection.execute("SELECT pg_get_viewdef('archive_objects'::regclass)").fetchone()
    assert definition is not None
    kinds = re.findall(r"\(?\d,\s*'([a-z]+)'::text", definition[0])
    assert kinds == [str(kind) for kind in ObjectKind]
    assert set(EVERY_PART) < set(ObjectKind)


def test_no_query_lists_the_objects_of_a_month_itself() -> None:
    """A list beside the view once forgot the lookup, and the lookup was not locked."""
    texts = {path.name: path.read_text() for path in QUERIES.glob("*.sql")}
    listing = re.compile(
        r"ARRAY\[[^\]]*(?:object_key|manifest_key)[^\]]*\]|(?:lookup|tree) ->> 'key'[^\n]*manifest_key"
    )
    assert [name for name, text in texts.items() if listing.search(text)] == []
