"""Signing in: a key becomes a session, which ends by time, for want of use, with its key, or when somebody ends it."""

import hashlib
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from api.dashboard.cookie import SECURE_NAME
from api.keys import auth
from cli.main import app
from config import Settings
from ledger.errors import NotFoundError
from ledger.scopes import Scope
from sql.roles import API
from tasks.admin.housekeeping import purge_sessions
from tasks.admin.keys import create_key, revoke_key
from tasks.admin.sessions import list_sessions, revoke_session
from tests.api.conftest import serving, unlimited
from tests.api.dashboard.conftest import MakePerson
from tests.api.dashboard.desk import PERIODS
from tests.api.dashboard.person import SAME_ORIGIN, Document, Person, cookie_name
from tests.api.dashboard.test_pages import check_html

SESSIONS = "/dashboard/sessions"
SIGN_IN = "/dashboard/sign-in"


@pytest.fixture(autouse=True)
def _short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions and keys are looked up each time: how long they are remembered is tested on its own."""
    monkeypatch.setattr("api.dashboard.sessions.REMEMBER_S", 0.0)
    monkeypatch.setattr(auth, "REMEMBER_S", 0.0)


def change(database: psycopg.Connection[Any], person: Person, assignment: str) -> None:
    """Change the row of a session behind the back of the API."""
    digest = hashlib.sha256(person.token.encode()).digest()
    changed = database.execute(
        f"UPDATE treasury.dashboard_sessions SET {assignment} WHERE token_sha256 = %s", (digest,)
    )
    assert changed.rowcount == 1


def is_asked_to_sign_in(answer: httpx.Response) -> bool:
    return answer.status_code == 401 and any(
        form.action == SIGN_IN and "key" in form.fields for form in Document(answer.text).forms
    )


def test_a_key_opens_a_session_and_leads_to_the_page_that_was_asked_for(stranger: Person) -> None:
    asked = stranger.open(f"{SESSIONS}?done=ended")
    assert is_asked_to_sign_in(asked)
    way = Document(asked.text).forms[0].fields["next"]

    answer = stranger.sign_in(way)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{SESSIONS}?done=ended")
    assert "The session has ended." in stranger.read(answer.headers["location"]).text


def test_the_cookie_is_for_the_dashboard_of_this_browser_alone(stranger: Person) -> None:
    cookie = stranger.sign_in().headers["set-cookie"]
    token = stranger.token

    attributes = {part.strip() for part in cookie.partition(";")[2].split(";")}
    assert attributes == {"HttpOnly", "Max-Age=43200", "Path=/dashboard", "SameSite=strict"}
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert stranger.key.rsplit("_", 1)[1] not in cookie


def test_postgresql_has_the_hash_of_a_session_and_neither_its_token_nor_the_key(
    person: Person, shared_database: psycopg.Connection[Any]
) -> None:
    rows = shared_database.execute("SELECT s::text, token_sha256 FROM treasury.dashboard_sessions s").fetchall()
    assert hashlib.sha256(person.token.encode()).digest() in {bytes(digest) for _, digest in rows}
    assert not any(person.token in text or person.key.rsplit("_", 1)[1] in text for text, _ in rows)


@pytest.mark.parametrize("key", ["", "trk_", "nonsense", "trk_0123456789ab_wrong", "x" * 300, "\u202etrk_a_b"])
def test_a_wrong_key_opens_nothing(shared_http: httpx.Client, key: str) -> None:
    answer = shared_http.post(SIGN_IN, data={"key": key}, headers=SAME_ORIGIN)
    assert answer.status_code == (401 if key else 422)
    assert "set-cookie" not in answer.headers
    if key:
        assert is_asked_to_sign_in(answer)
        assert "The API key is not valid." in answer.text


def test_wrong_keys_are_throttled_as_wrong_bearer_keys_are(ready: Settings) -> None:
    limits = ready.rate_limits.model_copy(update={"auth": "3/day"})
    with serving(ready.model_copy(update={"rate_limits": limits})) as url, httpx.Client(base_url=url) as client:
        wrong = {"key": "trk_0123456789ab_wrong"}
        statuses = [client.post(SIGN_IN, data=wrong, headers=SAME_ORIGIN).status_code for _ in range(5)]
        refused = client.post(SIGN_IN, data=wrong, headers=SAME_ORIGIN)
        bearer = client.get("/api/v1/monitoring/health", headers={"Authorization": f"Bearer {wrong['key']}"})
    assert statuses[:3] == [401] * 3
    assert {429} == {*statuses[3:], bearer.status_code}
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["content-type"].startswith("text/html")
    assert "Too many requests" in Document(refused.text).text


@pytest.mark.parametrize(
    "assignment",
    [
        "expires_at = now() - interval '1 second'",
        "last_used_at = now() - interval '31 minutes'",
        "revoked_at = now()",
    ],
)
def test_a_session_that_has_ended_opens_nothing(
    person: Person, shared_database: psycopg.Connection[Any], assignment: str
) -> None:
    assert person.open(SESSIONS).status_code == 200
    change(shared_database, person, assignment)
    assert is_asked_to_sign_in(person.open(SESSIONS))


def test_a_session_ends_with_its_key(person: Person, shared: Settings) -> None:
    assert person.open(SESSIONS).status_code == 200
    revoke_key(shared, person.key.split("_")[1])
    answer = person.open(SESSIONS)
    assert is_asked_to_sign_in(answer)
    assert "was revoked or has expired" in answer.text


def test_a_revoked_session_and_a_revoked_key_are_refused_within_their_memory(
    make_person: MakePerson, shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dashboard.sessions.REMEMBER_S", 0.5)
    monkeypatch.setattr(auth, "REMEMBER_S", 0.5)
    by_session, by_key = make_person(), make_person()
    for one in (by_session, by_key):
        assert one.open(SESSIONS).status_code == 200
    ids = {session.key_id: session.session_id for session in list_sessions(shared)}
    assert revoke_session(shared, ids[by_session.key.split("_")[1]])
    revoke_key(shared, by_key.key.split("_")[1])
    time.sleep(0.5)
    for one in (by_session, by_key):
        assert is_asked_to_sign_in(one.open(SESSIONS))


def test_a_session_has_the_scopes_that_its_key_has_now(
    make_person: MakePerson, shared_database: psycopg.Connection[Any]
) -> None:
    someone = make_person([Scope.TRANSACTIONS_WRITE])
    assert "open no page: transactions:write" in someone.read(SESSIONS).text
    shared_database.execute(
        "UPDATE treasury.api_keys SET scopes = '{operations}' WHERE key_id = %s", (someone.key.split("_")[1],)
    )
    assert "open no page: operations" in someone.read(SESSIONS).text


def test_use_is_noted_for_people_and_not_for_the_refreshes_of_an_open_page(
    person: Person, shared_database: psycopg.Connection[Any]
) -> None:
    def minutes_ago() -> float:
        digest = hashlib.sha256(person.token.encode()).digest()
        row = shared_database.execute(
            "SELECT extract(epoch FROM now() - last_used_at) / 60 FROM treasury.dashboard_sessions "
            "WHERE token_sha256 = %s",
            (digest,),
        ).fetchone()
        assert row is not None
        return float(row[0])

    change(shared_database, person, "last_used_at = now() - interval '20 minutes'")
    assert person.open(SESSIONS, headers={"X-Dashboard-Refresh": "1"}).status_code == 200
    assert minutes_ago() >= 20
    assert person.open(SESSIONS).status_code == 200
    assert minutes_ago() < 1


def test_signing_out_ends_the_session_and_takes_the_cookie(person: Person) -> None:
    token = person.token
    answer = person.send(SESSIONS, "/dashboard/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{SIGN_IN}?done=signed-out")
    assert f'{person.cookie_name}=""' in answer.headers["set-cookie"]
    assert "You have signed out." in person.read(answer.headers["location"]).text
    assert is_asked_to_sign_in(person.open(SESSIONS, headers={"Cookie": f"{person.cookie_name}={token}"}))


def test_a_person_ends_another_session_of_the_same_key_and_none_of_another(
    person: Person, stranger: Person, make_person: MakePerson, shared: Settings
) -> None:
    second = stranger
    second.key = person.key
    second.sign_in()
    other = make_person()
    listed = {session.key_id: session.session_id for session in reversed(list_sessions(shared))}

    shown = person.read(SESSIONS).forms
    ends = [form.action for form in shown if form.action.startswith(SESSIONS)]
    assert len(ends) == 2
    theirs = f"{SESSIONS}/{listed[other.key.split('_')[1]]}/end"
    assert theirs not in ends
    refused = person.client.post(theirs, data={"form_token": person.form_token}, headers=SAME_ORIGIN)
    assert refused.status_code == 404
    assert other.open(SESSIONS).status_code == 200

    answer = person.send(SESSIONS, ends[0])  # the newest
    assert (answer.status_code, answer.headers["location"]) == (303, f"{SESSIONS}?done=ended")
    assert is_asked_to_sign_in(second.open(SESSIONS))
    assert person.send(SESSIONS, ends[1]).headers["location"] == f"{SIGN_IN}?done=signed-out"
    assert is_asked_to_sign_in(person.open(SESSIONS))


def test_a_form_without_the_token_of_its_session_is_refused(person: Person, make_person: MakePerson) -> None:
    theirs = make_person().form_token
    for token in ("", "0" * 64, theirs, "\u202e"):
        answer = person.client.post("/dashboard/sign-out", data={"form_token": token}, headers=SAME_ORIGIN)
        assert answer.status_code == 403
        assert "The form is not of this session, so nothing was recorded." in answer.text
    assert person.open(SESSIONS).status_code == 200


WRITTEN = "looked at <b>both</b> sides, and the supplier is right"
DECISION = {"supplier": "flash", "first_day": "2026-02-03", "last_day": "2026-02-03", "reason": WRITTEN}


def test_a_form_that_is_sent_after_the_session_ended_leads_back_and_gives_back_what_was_written(
    person: Person, shared_database: psycopg.Connection[Any]
) -> None:
    token = person.form_token
    change(shared_database, person, "last_used_at = now() - interval '31 minutes'")
    answer = person.client.post(PERIODS, data={"form_token": token, **DECISION}, headers=SAME_ORIGIN)
    assert is_asked_to_sign_in(answer)
    document = Document(answer.text)
    check_html(document)
    assert "Nothing was recorded, because your session had ended." in document.text
    assert WRITTEN in document.text
    assert document.forms[0].fields["next"] == PERIODS
    assert person.sign_in(document.forms[0].fields["next"]).headers["location"] == PERIODS
    another_site = person.client.post(PERIODS, data=DECISION, headers={"Sec-Fetch-Site": "cross-site"})
    assert WRITTEN not in Document(another_site.text).text


def test_a_form_of_the_session_before_says_that_nothing_was_recorded_and_leads_back(person: Person) -> None:
    older = person.form_token
    person.sign_in()
    answer = person.client.post(PERIODS, data={"form_token": older, **DECISION}, headers=SAME_ORIGIN)
    assert answer.status_code == 403
    document = Document(answer.text)
    check_html(document)
    assert "The form is not of this session, so nothing was recorded." in document.text
    assert WRITTEN in document.text
    assert PERIODS in document.links
    assert "scope" not in document.text  # the key has it


def test_the_advice_about_scopes_is_for_a_key_that_lacks_one(make_person: MakePerson) -> None:
    someone = make_person([Scope.TRANSACTIONS_READ])
    lacking = Document(someone.open(PERIODS).text).text
    assert "Sign in with a key that has the scope. treasury key create makes one and lists all scopes." in lacking
    another_site = someone.client.post(PERIODS, headers={"Sec-Fetch-Site": "cross-site"})
    assert "sent from another site" in another_site.text
    assert "has the scope" not in another_site.text


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", ""])
def test_a_form_that_another_site_sends_is_refused(person: Person, site: str) -> None:
    given = {"form_token": person.form_token}
    answer = person.client.post("/dashboard/sign-out", data=given, headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403
    signing_in = person.client.post(SIGN_IN, data={"key": person.key}, headers={"Sec-Fetch-Site": site})
    assert (signing_in.status_code, "set-cookie" in signing_in.headers) == (403, False)
    assert person.open(SESSIONS).status_code == 200
    assert (
        person.client.post("/dashboard/sign-out", data=given).status_code == 303
    )  # an old browser sends no such header


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "null", "", "http://127.0.0.1:1"])
def test_over_plain_http_the_origin_says_which_site_sends_a_form(stranger: Person, origin: str) -> None:
    form = {"key": stranger.key}
    refused = stranger.client.post(SIGN_IN, data=form, headers={"Origin": origin})
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    own = str(stranger.client.base_url).rstrip("/")
    assert stranger.client.post(SIGN_IN, data=form, headers={"Origin": own}).status_code == 303


def test_two_installations_on_one_host_keep_their_own_sessions(
    shared: Settings, person: Person, make_person: MakePerson
) -> None:
    """A browser has one jar of cookies for all ports of a host."""
    with serving(shared) as url:
        other = make_person()
        other.client.base_url = httpx.URL(url)
        other.client.cookies = person.client.cookies
        other.sign_in()
        assert other.open(SESSIONS).status_code == 200
        assert person.open(SESSIONS).status_code == 200
        assert person.form_token != other.form_token


@pytest.mark.parametrize(
    "way",
    [
        "https://evil.example/dashboard",
        "//evil.example",
        "/\\evil.example",
        "/dashboard/../../evil",
        "/dashboard//evil.example",
        "/dashboard/%2e%2e/%2e%2e/evil",
        "/dashboard/.%2e/docs",
        "/dashboard\n/x",
        "/dashboardevil",
        "/docs",
        "javascript:alert(1)",
        "/dashboard/sign-out",
        "/dashboard?next=" + "a" * 3000,
    ],
)
def test_signing_in_leads_to_the_dashboard_and_nowhere_else(stranger: Person, way: str) -> None:
    shown = stranger.open(SIGN_IN, params={"next": way})
    assert Document(shown.text).forms[0].fields["next"] == "/dashboard"
    assert re.fullmatch(r"/dashboard(/sessions)?", stranger.sign_in(way).headers["location"])


@pytest.mark.parametrize("token", ["", "short", "é", "a" * 42, "a" * 44, "a" * 5000, "../../etc/passwd"])
def test_a_cookie_that_no_session_can_have_opens_nothing(shared_http: httpx.Client, token: str) -> None:
    assert is_asked_to_sign_in(
        shared_http.get(SESSIONS, headers={b"Cookie": f"{cookie_name(shared_http)}={token}".encode()})
    )


def test_two_cookies_of_one_name_open_nothing(person: Person, shared_http: httpx.Client) -> None:
    name = person.cookie_name
    good = f"{name}={person.token}"
    assert shared_http.get(SESSIONS, headers={"Cookie": f"other=1; {good}"}).status_code == 200
    for double in (f"{good}; {name}=x", f"{name}=x; {good}"):
        assert is_asked_to_sign_in(shared_http.get(SESSIONS, headers={"Cookie": double}))


@pytest.mark.parametrize(
    ("header", "name", "value"),
    [
        ("x-forwarded-for", "X-Forwarded-Proto", "https"),
        ("forwarded", "Forwarded", "for=192.0.2.1;proto=https;host=example"),
    ],
)
def test_over_https_the_cookie_is_secure_and_no_session_crosses_over(
    shared: Settings, header: str, name: str, value: str
) -> None:
    changes = {"trusted_proxies": ("127.0.0.1",), "forwarded_header": header}
    key = create_key(shared, "acme", list(Scope))
    with serving(shared.model_copy(update=changes)) as url, httpx.Client(base_url=url) as client:
        safe, clear = cookie_name(client, SECURE_NAME), cookie_name(client)
        over_https = {**SAME_ORIGIN, name: value}
        secure = client.post(SIGN_IN, data={"key": key}, headers=over_https).headers["set-cookie"]
        plain = client.post(SIGN_IN, data={"key": key}, headers=SAME_ORIGIN).headers["set-cookie"]
        assert (secure.startswith(f"{safe}="), "Secure" in secure) == (True, True)
        assert (plain.startswith(f"{clear}="), "Secure" in plain) == (True, False)
        client.cookies.clear()
        tokens = [cookie.partition("=")[2].partition(";")[0] for cookie in (secure, plain)]

        def status(cookie: str, token: str, headers: dict[str, str]) -> int:
            return client.get(SESSIONS, headers={"Cookie": f"{cookie}={token}", **headers}).status_code

        assert status(safe, tokens[0], over_https) == 200
        assert status(clear, tokens[1], {}) == 200
        assert {
            status(safe, tokens[1], over_https),
            status(clear, tokens[0], {}),
            status(clear, tokens[1], over_https),
            status(safe, tokens[0], {}),
        } == {401}


def test_only_a_trusted_proxy_says_what_is_https(shared_http: httpx.Client, shared: Settings) -> None:
    key = create_key(shared, "acme", list(Scope))
    forged = {**SAME_ORIGIN, "X-Forwarded-Proto": "https", "Forwarded": "proto=https"}
    assert "Secure" not in shared_http.post(SIGN_IN, data={"key": key}, headers=forged).headers["set-cookie"]


def test_the_list_says_which_browser_and_network_and_nothing_more(person: Person, shared: Settings) -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    person.client.post(SIGN_IN, data={"key": person.key}, headers={**SAME_ORIGIN, "User-Agent": agent})
    hostile = f"<script>alert(1)</script> {person.key} \u202e".encode() + b"a" * 4000
    person.client.post(SIGN_IN, data={"key": person.key}, headers={b"User-Agent": hostile})

    shown = person.open(SESSIONS).text
    assert "Firefox 140 on Linux" in shown
    assert "127.0.0.0/24" in shown
    assert "<script>alert" not in shown
    assert person.key.rsplit("_", 1)[1] not in shown
    assert all(len(session.browser) <= 80 for session in list_sessions(shared))


def test_the_api_role_cannot_lengthen_a_session_or_give_it_away(
    person: Person, ready: Settings, shared: Settings
) -> None:
    with psycopg.connect(shared.for_api().database_dsn, autocommit=True) as connection:
        if connection.execute("SELECT current_user").fetchone() != (API,):
            connection.execute(f"SET ROLE {API}")
        connection.execute("SET search_path = treasury")
        for statement in (
            "UPDATE dashboard_sessions SET expires_at = now() + interval '1 year'",
            "UPDATE dashboard_sessions SET key_id = 'other'",
            "UPDATE dashboard_sessions SET token_sha256 = sha256('x')",
            "DELETE FROM dashboard_sessions",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_command_lists_and_ends_sessions(person: Person, shared: Settings) -> None:
    own = next(one for one in list_sessions(shared) if one.key_id == person.key.split("_")[1])
    assert (own.state, own.client_id, own.over_https) == ("open", "acme", False)
    assert revoke_session(shared, own.session_id)
    assert not revoke_session(shared, own.session_id)
    assert next(one for one in list_sessions(shared) if one.session_id == own.session_id).state == "revoked"
    with pytest.raises(NotFoundError, match="999999"):
        revoke_session(shared, 999_999)


def test_what_people_type_to_see_and_end_sessions(
    person: Person, shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in shared.environment().items():
        monkeypatch.setenv(name, value)
    own = next(one for one in list_sessions(shared) if one.key_id == person.key.split("_")[1])
    listed = CliRunner().invoke(app, ["sessions", "list"]).output
    assert own.key_id in listed
    assert person.token not in listed
    assert "ended session" in CliRunner().invoke(app, ["sessions", "revoke", str(own.session_id)]).output
    assert own.key_id not in CliRunner().invoke(app, ["sessions", "list"]).output
    assert "revoked" in CliRunner().invoke(app, ["sessions", "list", "--all"]).output
    assert is_asked_to_sign_in(person.open(SESSIONS))


def test_sessions_that_ended_long_ago_are_deleted_and_no_others(
    make_person: MakePerson, shared: Settings, shared_database: psycopg.Connection[Any]
) -> None:
    old, revoked, recent, still_open = (make_person() for _ in range(4))
    change(shared_database, old, "expires_at = now() - interval '31 days'")
    change(shared_database, revoked, "revoked_at = now() - interval '31 days'")
    change(shared_database, recent, "expires_at = now() - interval '29 days'")
    assert purge_sessions(shared) == 2
    assert purge_sessions(shared) == 0
    kept = {session.key_id for session in list_sessions(shared)}
    assert {one.key.split("_")[1] for one in (recent, still_open)} <= kept
    assert not {one.key.split("_")[1] for one in (old, revoked)} & kept


@pytest.fixture
def off(shared: Settings) -> Iterator[httpx.Client]:
    with (
        serving(unlimited(shared.model_copy(update={"api_dashboard": False}))) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


def test_a_dashboard_that_is_off_has_no_address(off: httpx.Client) -> None:
    for path in ("/dashboard", SIGN_IN, SESSIONS, "/dashboard/anything"):
        answer = off.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_first_visit_is_no_error(shared_http: httpx.Client, stranger: Person) -> None:
    assert "notice-bad" not in stranger.open("/dashboard").text
    assert "Sign in with an API key." in stranger.open("/dashboard").text
    wrong = shared_http.post(SIGN_IN, data={"key": "trk_wrong", "next": "/dashboard"}, headers=SAME_ORIGIN)
    assert "notice-bad" in wrong.text
