"""The fixtures that everything else stands on."""

import psycopg
import pytest
import redis

from config import Settings


@pytest.mark.parametrize("_again", [1, 2, 3])
def test_every_test_has_a_migrated_database_and_an_archive_of_its_own(settings: Settings, _again: int) -> None:
    with psycopg.connect(settings.database_dsn) as connection:
        assert connection.execute("SELECT to_regclass('transactions_partitioned')").fetchone() != (None,)
        connection.execute("CREATE TABLE made_by_this_test ()")
    assert str(psycopg.conninfo.conninfo_to_dict(settings.database_dsn)["dbname"]) in settings.archive_location


@pytest.mark.parametrize("_again", [1, 2])
def test_every_test_has_an_empty_redis(redis_url: str, _again: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("made_by", "this test")
