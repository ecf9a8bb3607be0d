"""What is suspicious becomes an alert; only attacks have consequences, and these end."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from redis import Redis
from typer.testing import CliRunner

from api.abuse.addresses import Addresses
from api.abuse.alert_writer import _MOST_QUEUED, AlertWriter
from api.abuse.attackers import Attackers, Stage, lift, list_held
from api.abuse.rate_limits import RateLimiter, RatePolicy
from api.abuse.tallies import SharedTallies
from api.connections.database import Database
from api.connections.shared_redis import RedisAccess, SharedRedis
from cli.main import app
from config import Settings
from config.limits import RateLimits, WatchSettings
from ledger.errors import TreasuryError
from sql.connection import connect
from tasks.alerting.request_rules import RULES, RequestRule
from tasks.alerting.rules import rules
from tasks.alerting.store import Alert, Severity, list_alerts, raise_alert
from tests.api.abuse.conftest import StartRedis
from tests.api.abuse.sharing import PREFIX, shared
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import BODY, keyed

PATH = "/api/v1/transactions"
ATTACKER, NEIGHBOUR = "203.0.113.9", "203.0.113.10"
ATTACK = {"wallet_id": "' or '1'='1"}


def watched(settings: Settings, **changes: Any) -> Settings:
    """Settings with thresholds that a test reaches quickly."""
    quick = {"slow_after": 3, "refuse_after": 5, "slow_ms": 1, "attack_window_s": 86_400}
    patient = RateLimits(redis_timeout_ms=5000)
    return settings.model_copy(update={"watch": WatchSettings(**{**quick, **changes}), "rate_limits": patient})


@contextmanager
def client(url: str, address: str = ATTACKER, **headers: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30, headers={"X-Forwarded-For": address, **headers}) as one:
        yield one


def alerts(settings: Settings, rule: str) -> list[tuple[str, str, dict[str, Any], int]]:
    with psycopg.connect(settings.database_dsn) as connection:
        found = "SELECT subject, severity, evidence, count FROM alerts WHERE rule = %s ORDER BY alert_id"
        return connection.execute(found, (rule,)).fetchall()


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What ``condition`` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return result


def statuses(api: httpx.Client, times: int, params: Any = None) -> list[int]:
    return [api.get(PATH, params=params or {"wallet_id": "w"}).status_code for _ in range(times)]


def test_an_attack_is_told_with_masked_evidence_and_blocks_nothing_by_itself(
    behind_a_proxy: Settings, make_key: MakeKey
) -> None:
    with serving(behind_a_proxy) as url, client(url, **make_key()) as api:
        answer = api.get(PATH, params={"wallet_id": "w' or 5412345678901234=5412345678901234"})
        assert answer.status_code == 200  # it is plain data here: a wallet that has no rows
        (alert,) = until(lambda: alerts(behind_a_proxy, RequestRule.INJECTION))
    subject, severity, evidence, count = alert
    assert (subject, severity, count) == (ATTACKER, "warning", 1)
    assert evidence.pop("request_id") == answer.headers["x-request-id"]
    assert evidence == {
        "pattern": "sql",
        "place": "query",
        "found": "' or ################=",
        "count": 1,
        "window_s": 60,
    }


def test_a_description_may_say_what_it_likes(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    settings = watched(behind_a_proxy, slow_after=1, refuse_after=2)
    with serving(settings) as url, client(url, **make_key()) as api:
        for number in range(4):
            body = {
                **BODY,
                "description": "<script>'; DROP TABLE x; ../../etc/passwd ${jndi:x}",
                "reference": f"{number}",
            }
            assert api.post(PATH, json=body, headers=keyed()).status_code == 201
    assert alerts(settings, RequestRule.INJECTION) == []


def test_the_name_of_a_refused_field_is_told_of_and_never_held_against_anybody(
    behind_a_proxy: Settings, make_key: MakeKey
) -> None:
    settings = watched(behind_a_proxy, slow_after=1, refuse_after=2)
    with serving(settings) as url, client(url, **make_key()) as api:
        asked = [api.post(PATH, json={**BODY, "' or 1=1": "x"}, headers=keyed()).status_code for _ in range(5)]
        assert asked == [422] * 5
        (alert,) = until(lambda: alerts(settings, RequestRule.INJECTION))
    assert alert[2]["place"] == "field name"


def test_an_address_that_attacks_is_refused_in_every_process_and_its_neighbour_is_not(
    behind_a_proxy: Settings, make_key: MakeKey
) -> None:
    settings = watched(behind_a_proxy)
    key = make_key()
    with serving(settings) as first, serving(settings) as second:
        with client(first, **key) as api:
            assert statuses(api, 5, ATTACK) == [200] * 5
            refused = api.get(PATH, params={"wallet_id": "w"})
            assert (refused.status_code, refused.json()["type"]) == (429, "urn:treasury:problem:address-refused")
            assert 800 <= int(refused.headers["retry-after"]) <= 900
            assert api.get("/health/live").status_code == 429
        with client(second, **key) as api:
            until(lambda: statuses(api, 1) == [429])
        for url in (first, second):
            with client(url, NEIGHBOUR, **key) as api:
                assert statuses(api, 3) == [200] * 3
        assert until(lambda: alerts(settings, RequestRule.REFUSED))[0][0] == ATTACKER
        assert alerts(settings, RequestRule.SLOWED)[0][0] == ATTACKER


def test_attacks_are_counted_over_processes(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    settings, key = watched(behind_a_proxy, slow_after=100, refuse_after=8), make_key()
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(settings)) for _ in range(2)]
        one, two = (stack.enter_context(client(url, **key)) for url in urls)
        statuses(one, 4, ATTACK)
        statuses(two, 4, ATTACK)
        until(lambda: statuses(one, 1) == [429])
        until(lambda: statuses(two, 1) == [429])


def test_a_slowed_address_waits_and_is_answered(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    settings = watched(behind_a_proxy, slow_after=1, slow_ms=700)
    with serving(settings) as url, client(url, **make_key()) as api:
        statuses(api, 1, ATTACK)
        started_s = time.monotonic()
        assert statuses(api, 1) == [200]
        assert time.monotonic() - started_s >= 0.7


@pytest.mark.parametrize(
    ("changes", "proxies"),
    [
        ({"blocking": False, "never_refused": ()}, ("127.0.0.1",)),
        ({"never_refused": ("203.0.113.0/24",)}, ("127.0.0.1",)),
        ({"never_refused": ()}, ("127.0.0.1", "203.0.113.0/24")),
        ({"enabled": False, "never_refused": ()}, ("127.0.0.1",)),
        ({}, ()),  # no proxy is trusted: all come from this machine's own address, which is never refused
    ],
)
def test_some_are_never_refused(
    behind_a_proxy: Settings, make_key: MakeKey, changes: dict[str, Any], proxies: tuple[str, ...]
) -> None:
    settings = watched(behind_a_proxy, **changes).model_copy(update={"trusted_proxies": proxies})
    with serving(settings) as url, client(url, **make_key()) as api:
        assert statuses(api, 20, ATTACK) == [200] * 20
        assert statuses(api, 1) == [200]
    told = bool(alerts(settings, RequestRule.INJECTION))
    assert told == settings.watch.enabled
    assert alerts(settings, RequestRule.REFUSED) == []


def test_an_operator_lifts_it_and_it_stays_lifted(
    behind_a_proxy: Settings, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = watched(behind_a_proxy)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert settings.redis_url is not None
    redis_url = settings.redis_url.get_secret_value()
    with serving(settings) as url, client(url, **make_key()) as api:
        statuses(api, 6, ATTACK)
        assert statuses(api, 1) == [429]
        until(
            lambda: (
                {(one.address, one.stage) for one in list_held(redis_url, settings.redis_prefix)}
                >= {(ATTACKER, Stage.REFUSED)}
            )
        )
        shown = CliRunner().invoke(app, ["limits", "show"])
        assert (shown.exit_code, ATTACKER in shown.stdout, "refused" in shown.stdout) == (0, True, True)

        lifted = CliRunner().invoke(app, ["limits", "lift", ATTACKER])
        assert lifted.exit_code == 0
        assert lifted.stdout.startswith(f"{ATTACKER}: was slowed and refused; cannot be blocked until ")
        until(lambda: statuses(api, 1) == [200])
        assert statuses(api, 10, ATTACK) == [200] * 10
        assert "lifted" in CliRunner().invoke(app, ["limits", "show"]).stdout
        assert CliRunner().invoke(app, ["limits", "lift", "nowhere"]).exit_code != 0


def test_without_redis_a_process_refuses_by_itself_and_tells_the_others_later(
    ready: Settings, make_key: MakeKey, start_redis: StartRedis
) -> None:
    with start_redis() as found:
        redis_url = found.url
    base = ready.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    settings = watched(base).model_copy(update={"redis_url": SecretStr(redis_url)})
    key = make_key()
    with serving(settings) as first, serving(settings) as second:
        with client(first, **key) as api:
            statuses(api, 5, ATTACK)
            assert statuses(api, 1) == [429]
        with client(second, **key) as api:
            assert statuses(api, 1) == [200]
            with start_redis():
                until(lambda: statuses(api, 1) == [429])


def test_a_redis_that_comes_back_empty_frees_nobody_and_holds_nobody_who_was_lifted(start_redis: StartRedis) -> None:
    let_go, second = "203.0.113.77", "203.0.113.78"

    async def exchanged(process: Attackers, redis: RedisAccess) -> None:
        while redis.away:
            await asyncio.sleep(0.01)
        await process.exchange()

    async def run() -> None:
        with start_redis() as found:
            url = found.url
        async with shared(url) as redis, shared(url) as other:
            one, two = (
                Attackers(WatchSettings(refuse_after=1), Addresses((), "forwarded"), each, SharedTallies(each))
                for each in (redis, other)
            )
            with start_redis():
                for address in (ATTACKER, let_go, second):
                    one.attacked(address)
                await exchanged(one, redis)
                await exchanged(two, other)
                assert lift(url, PREFIX, let_go, 600) == [Stage.REFUSED]
                await exchanged(one, redis)
                await exchanged(two, other)
            await two.exchange()  # it is away: nothing is learnt and nothing forgotten
            with start_redis():
                assert list_held(url, PREFIX) == []
                for _ in range(2):  # the first finds out what is lost, the second tells it; one process would do
                    await exchanged(two, other)
                assert two.held(ATTACKER) is not None
                assert {(one.address, one.stage) for one in list_held(url, PREFIX)} == {
                    (ATTACKER, Stage.REFUSED),
                    (second, Stage.REFUSED),
                    (let_go, Stage.LIFTED),
                }
                assert lift(url, PREFIX, second, 600) == [Stage.REFUSED]
                for _ in range(2):
                    await exchanged(one, redis)
                    await exchanged(two, other)
                assert (one.held(second), two.held(let_go)) == (None, None)
                assert {held.address for held in list_held(url, PREFIX) if held.stage is Stage.REFUSED} == {ATTACKER}

    asyncio.run(run())


def test_two_apis_on_one_redis_share_nothing_when_their_prefixes_differ(start_redis: StartRedis) -> None:
    async def refused(url: str, prefix: str) -> bool:
        async with shared(url, prefix=prefix) as redis:
            tallies = SharedTallies(redis)
            attackers = Attackers(WatchSettings(refuse_after=2), Addresses((), "forwarded"), redis, tallies)
            attackers.attacked(ATTACKER)
            await RateLimiter(RateLimits(), redis).spend(RatePolicy.DDOS, ATTACKER)
            for (_, subject, _), tally in await tallies.exchange():
                attackers.judge(subject, tally.total)
            await attackers.exchange()
            return attackers.held(ATTACKER) is not None

    with start_redis() as found:
        url = found.url
        assert [asyncio.run(refused(url, prefix)) for prefix in ("one:", "two:", "one:", "three:")] == [
            False,
            False,
            True,
            False,
        ]
        with Redis.from_url(url) as client:
            keys = [key.decode().split(":") for key in client.scan_iter()]
        assert {key[0] for key in keys} == {"one", "two", "three"}
        assert {key[1] for key in keys if key[0] == "one"} == {"limits", "tally", "attackers"}


BURSTS: list[tuple[RequestRule, str, Callable[[httpx.Client, int], httpx.Response]]] = [
    (
        RequestRule.UNAUTHORIZED,
        "unauthorized",
        lambda api, _: api.get(PATH, headers={"Authorization": "Bearer nothing"}),
    ),
    (RequestRule.FORBIDDEN, "forbidden", lambda api, _: api.get("/api/v1/vas-transactions", params={"wallet_id": "w"})),
    (RequestRule.INVALID, "invalid", lambda api, _: api.post(PATH, json={**BODY, "amount": "none"}, headers=keyed())),
    (
        RequestRule.UNKNOWN_IDS,
        "unknown_ids",
        lambda api, number: api.get(f"{PATH}/01a20733-cc6b-74a3-a860-{number:012x}"),
    ),
]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("rule", "setting", "send"), BURSTS)
def test_a_burst_is_told_once_and_whoever_makes_it_goes_on(
    behind_a_proxy: Settings,
    make_key: MakeKey,
    rule: RequestRule,
    setting: str,
    send: Callable[[httpx.Client, int], httpx.Response],
) -> None:
    settings = watched(behind_a_proxy, **{setting: "5/day"})
    key = make_key(scopes=["transactions:read", "transactions:write"])
    with serving(settings) as url, client(url, **key) as api:
        for number in range(4):
            assert send(api, number).status_code in (401, 403, 404, 422)
        assert alerts(settings, rule) == []
        for number in range(4, 20):
            assert send(api, number).status_code in (401, 403, 404, 422)
        (alert,) = until(lambda: alerts(settings, rule))
        assert api.get(PATH, params={"wallet_id": "w"}).status_code == 200
    subject, _, evidence, count = alert
    assert subject == (ATTACKER if rule is RequestRule.UNAUTHORIZED else f"key {key['Authorization'].split('_')[1]}")
    assert len(evidence.pop("request_id")) == 32
    assert (evidence, count) == ({"window_s": 86_400, "count": 5}, 1)


def test_the_same_unknown_id_over_and_over_is_no_enumeration(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    settings = watched(behind_a_proxy, unknown_ids="5/day")
    with serving(settings) as url, client(url, **make_key()) as api:
        for _ in range(20):
            assert api.get(f"{PATH}/01a20733-cc6b-74a3-a860-71497a499eb9").status_code == 404
    assert alerts(settings, RequestRule.UNKNOWN_IDS) == []


def test_going_on_after_429_is_told(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    settings = watched(behind_a_proxy, limited="5/day")
    settings = settings.model_copy(update={"rate_limits": RateLimits(transactions="1/day", redis_timeout_ms=5000)})
    with serving(settings) as url, client(url, **make_key()) as api:
        assert statuses(api, 7) == [200] + [429] * 6
        assert until(lambda: alerts(settings, RequestRule.LIMITED))[0][2]["count"] == 5


def test_who_guesses_keys_is_refused_and_who_repeats_one_wrong_key_is_not(behind_a_proxy: Settings) -> None:
    settings = watched(behind_a_proxy, different_keys="4/day", slow_after=2, refuse_after=3)
    with serving(settings) as url:
        with client(url, NEIGHBOUR, Authorization="Bearer trk_000000000000_expired") as api:
            assert statuses(api, 30) == [401] * 30
        with client(url) as api:
            for number in range(6):
                api.headers["Authorization"] = f"Bearer trk_{number:012x}_guess"
                assert statuses(api, 1) == [401]
            assert statuses(api, 1) == [429]
        assert until(lambda: alerts(settings, RequestRule.DIFFERENT_KEYS))[0][0] == ATTACKER


def test_alerts_wait_for_postgresql_and_are_bounded(ready: Settings) -> None:
    gone = ready.model_copy(update={"database_url": SecretStr("postgresql://127.0.0.1:1/none")})

    async def run() -> tuple[int, int]:
        database = Database(gone)
        await database.open()
        writer = AlertWriter(database)
        for number in range(_MOST_QUEUED + 7):
            writer.put(Alert(RequestRule.INJECTION, f"address {number}", Severity.WARNING, "title", "nothing"))
        with pytest.raises(TreasuryError):
            await writer.flush()
        await database.close()
        writer._database = Database(ready)
        await writer._database.open()
        written = 0
        while more := await writer.flush():
            written += more
        await writer._database.close()
        return written, writer.dropped

    assert asyncio.run(run()) == (_MOST_QUEUED, 7)


def test_what_was_not_seen_for_a_day_is_over_and_alerts_of_others_stay(ready: Settings) -> None:
    found = {"seen now": timedelta(), "seen long ago": timedelta(hours=25)}
    with connect(ready.database_dsn, "tests") as connection:
        for rule in (RequestRule.LIMITED, "health-disk"):
            for subject, ago in found.items():
                alert = Alert(rule, subject, Severity.WARNING, "title", "nothing")
                raise_alert(connection, alert, at=datetime.now(UTC) - ago)

    async def run() -> None:
        database = Database(ready)
        await database.open()
        await AlertWriter(database).resolve_quiet()
        await database.close()

    asyncio.run(run())
    with connect(ready.database_dsn, "tests") as connection:
        resolved = [(one.rule, one.subject) for one in list_alerts(connection, state="resolved")]
    assert resolved == [(RequestRule.LIMITED, "seen long ago")]


def test_every_rule_is_listed_with_its_threshold(ready: Settings) -> None:
    listed = {one.name: one.threshold for one in rules(ready)}
    assert listed[RequestRule.INVALID] == "600/minute"
    assert set(RequestRule) <= set(listed)


def test_what_postgresql_refuses_is_dropped_and_counted_and_stands_in_no_others_way(ready: Settings) -> None:
    with psycopg.connect(ready.database_dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE alerts RENAME TO alerts_elsewhere")

    async def run() -> int:
        database = Database(ready)
        await database.open()
        writer = AlertWriter(database)
        writer.put(Alert(RequestRule.INJECTION, ATTACKER, Severity.WARNING, "title", "nothing"))
        with pytest.raises(TreasuryError, match="42P01"):
            await writer.flush()
        assert await writer.flush() == 0
        await database.close()
        return writer.dropped

    assert asyncio.run(run()) == 1


def test_no_more_than_so_many_requests_wait(
    behind_a_proxy: Settings, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.abuse.guard._MOST_SLOWED", 0)
    settings = watched(behind_a_proxy, slow_after=1, slow_ms=30_000)
    with serving(settings) as url, client(url, **make_key()) as api:
        assert statuses(api, 1, ATTACK) == [200]
        refused = api.get(PATH, params={"wallet_id": "w"})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")


def test_what_is_remembered_of_senders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.abuse.tallies._MOST_TALLIES", 50)
    monkeypatch.setattr("api.abuse.tallies._MOST_VALUES", 200)
    monkeypatch.setattr("api.abuse.attackers._MOST_ADDRESSES", 10)
    redis = SharedRedis(None, PREFIX).access("tests", 1.0)
    tallies = SharedTallies(redis)
    attackers = Attackers(WatchSettings(refuse_after=1), Addresses((), "forwarded"), redis, tallies)
    for number in range(300):
        tallies.add(RequestRule.INVALID, f"key {number}", 60)
        tallies.add(RequestRule.UNKNOWN_IDS, "key", 60, f"/path/{number}")
        assert attackers.attacked(f"203.0.{number // 256}.{number % 256}") is not None
    assert len(tallies._tallies) <= 50
    assert sum(len(tally.values) for tally in tallies._tallies.values()) == tallies._values <= 200
    assert len(attackers._ends[Stage.REFUSED]) == len(attackers._unsent) == 10


def test_every_rule_says_what_to_do() -> None:
    assert set(RULES) == set(RequestRule)
    for description in RULES.values():
        assert description.title
        assert description.what_to_do.endswith(".")
        assert not description.setting or description.setting in WatchSettings.model_fields
