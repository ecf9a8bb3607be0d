"""What a process remembers of keys: PostgreSQL is asked once for many, and made-up keys push no good one out."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from api.connections.database import Database
from api.keys import auth
from api.keys.auth import REMEMBER_S, ApiKey, Authenticator
from api.routing.problems import HttpError
from config import Settings
from ledger.errors import TransientError
from ledger.scopes import CLIENT_SCOPES
from tasks.admin.keys import create_key, pepper
from tests.api.conftest import MakeKey


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The key ids that PostgreSQL was asked for."""
    found: list[str] = []
    find = auth._find

    async def counted(connection: Any, key_id: str) -> ApiKey | None:
        found.append(key_id)
        return await find(connection, key_id)

    monkeypatch.setattr(auth, "_find", counted)
    return found


def use(settings: Settings, clock: Clock, work: Callable[[Authenticator], Awaitable[None]]) -> None:
    """Run ``work`` with an authenticator on the real database."""

    async def run() -> None:
        database = Database(settings)
        await database.open()
        try:
            await work(Authenticator(database, pepper(settings), clock))
        finally:
            await database.close()

    asyncio.run(run())


def made_up(number: int) -> str:
    return f"Bearer trk_{number:012x}_secret"


def test_many_requests_of_one_key_ask_postgresql_once(ready: Settings, make_key: MakeKey, asked: list[str]) -> None:
    header, clock = make_key()["Authorization"], Clock()

    async def burst(authenticator: Authenticator) -> None:
        for _ in range(2):
            keys = await asyncio.gather(*(authenticator.authenticate(header) for _ in range(200)))
            assert {key.client_id for key in keys} == {"acme"}
            clock.now_s += REMEMBER_S

    use(ready, clock, burst)
    assert len(asked) == 2


def test_a_request_that_is_given_up_does_not_fail_those_that_wait_with_it(
    ready: Settings, make_key: MakeKey, asked: list[str]
) -> None:
    header = make_key()["Authorization"]

    async def give_up(authenticator: Authenticator) -> None:
        first = asyncio.create_task(authenticator.authenticate(header))
        second = asyncio.create_task(authenticator.authenticate(header))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).client_id == "acme"

    use(ready, Clock(), give_up)
    assert len(asked) == 1


def test_made_up_keys_are_remembered_apart_and_push_no_good_key_out(
    ready: Settings, make_key: MakeKey, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_MOST_REMEMBERED", 8)
    monkeypatch.setattr(auth, "_MOST_UNKNOWN", 8)
    header = make_key()["Authorization"]

    async def flood(authenticator: Authenticator) -> None:
        await authenticator.authenticate(header)
        for number in (*range(20), 19, 19):
            with pytest.raises(HttpError):
                await authenticator.authenticate(made_up(number))
        await authenticator.authenticate(header)

    use(ready, Clock(), flood)
    assert len(asked) == len(set(asked)) == 21


def test_of_good_keys_the_one_longest_not_used_is_forgotten(
    ready: Settings, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_MOST_REMEMBERED", 2)
    headers = [f"Bearer {create_key(ready, 'acme', CLIENT_SCOPES, None)}" for _ in range(3)]

    async def use_three(authenticator: Authenticator) -> None:
        for header in (*headers, headers[2], headers[1]):
            await authenticator.authenticate(header)
        assert len(asked) == 3
        await authenticator.authenticate(headers[0])
        assert len(asked) == 4

    use(ready, Clock(), use_three)


def test_made_up_keys_do_not_wipe_what_an_outage_needs(
    ready: Settings, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_MOST_UNKNOWN", 4)
    monkeypatch.setattr(auth, "_MOST_REMEMBERED", 4)
    monkeypatch.setattr(auth, "_LOOK_UP_S", 0.3)
    header, clock = make_key()["Authorization"], Clock()
    away = Database(ready.model_copy(update={"database_url": SecretStr("postgresql://nobody@127.0.0.1:1/none")}))

    async def outage(authenticator: Authenticator) -> None:
        await authenticator.authenticate(header)
        for number in range(10):
            with pytest.raises(HttpError):
                await authenticator.authenticate(made_up(number))
        clock.now_s += REMEMBER_S
        await away.open()
        authenticator._database = away
        key = await authenticator.authenticate(header)
        assert (key.client_id, key.is_fresh) == ("acme", False)
        with pytest.raises(TransientError):
            await authenticator.authenticate(made_up(0))
        await away.close()

    use(ready, clock, outage)


def test_secrets_are_compared_in_constant_time_whether_the_key_is_known_or_not(
    ready: Settings, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is compared by `hmac.compare_digest`, over two values of one length: it takes as long for each."""
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def noted(given: bytes, wanted: bytes) -> bool:
        compared.append((len(given), len(wanted)))
        return compare(given, wanted)

    monkeypatch.setattr("api.keys.auth.hmac.compare_digest", noted)
    header = make_key()["Authorization"]

    async def ask(authenticator: Authenticator) -> None:
        await authenticator.authenticate(header)
        for wrong in (header[:-1], header + "x", made_up(1)):
            with pytest.raises(HttpError):
                await authenticator.authenticate(wrong)

    use(ready, Clock(), ask)
    assert compared == [(32, 32)] * 4
