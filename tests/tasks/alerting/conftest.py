"""What the tests of the alerts share."""

from collections.abc import Iterator

import pytest

from sql.connection import Connection, connect


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    """An autocommit connection to this test's database."""
    with connect(dsn, "tests") as connection:
        yield connection
