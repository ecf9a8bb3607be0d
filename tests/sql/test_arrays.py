"""Array literals mean to PostgreSQL what the values were."""

from collections.abc import Iterator
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import Settings
from sql.arrays import bytea_array, text_array

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
SLOW_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def connection(server_settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server_settings.database_dsn, autocommit=True) as connection:
        yield connection


@SLOW_FIXTURE
@given(values=st.lists(st.none() | TEXTS | st.sampled_from(["NULL", "", '"', "\\", '\\"', "{", "}", ",", " a "])))
def test_texts_come_back_as_they_were(connection: psycopg.Connection, values: list[str | None]) -> None:
    row = connection.execute("SELECT %s::text::text[]", (text_array(values),)).fetchone()
    assert row == (values,)


@SLOW_FIXTURE
@given(values=st.lists(st.binary()))
def test_bytes_come_back_as_they_were(connection: psycopg.Connection, values: list[bytes]) -> None:
    row = connection.execute("SELECT %s::text::bytea[]", (bytea_array(values),)).fetchone()
    assert row == (values,)


@SLOW_FIXTURE
@given(values=st.lists(st.none() | st.uuids()), amounts=st.lists(st.decimals(0, 10**9, places=2)))
def test_typed_values_come_back_as_they_were(
    connection: psycopg.Connection, values: list[UUID | None], amounts: list[Decimal]
) -> None:
    question = "SELECT %s::text::uuid[], %s::text::numeric[]"
    row = connection.execute(question, (text_array(values), text_array(amounts))).fetchone()
    assert row == (values, amounts)


@SLOW_FIXTURE
@given(value=st.none() | TEXTS | st.sampled_from(["NULL", '"', "\\"]), count=st.integers(1, 5), other=TEXTS)
def test_a_column_of_one_value_comes_back_as_it_was(
    connection: psycopg.Connection, value: str | None, count: int, other: str
) -> None:
    for values in ([value] * count, [value, other, value]):
        row = connection.execute("SELECT %s::text::text[]", (text_array(values),)).fetchone()
        assert row == (values,)
