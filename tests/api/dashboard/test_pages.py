"""What every page of the dashboard has: its keys, its headers, its HTML, and a page for each error."""

import re
from importlib.resources import files
from urllib.parse import urljoin

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.dashboard.page import Page
from api.dashboard.pages import pages
from api.dashboard.rendering import PAGES_POLICY, assets
from config import Settings
from ledger.scopes import Scope
from tests.api.conftest import serving
from tests.api.dashboard.conftest import MakePerson
from tests.api.dashboard.person import SAME_ORIGIN, Document, Person, cookie_name
from tests.api.server.observatory import modifiers

EVERY = pages()
SHOWN = [page for page in EVERY if page.method == "GET"]
GUARDED = [page for page in EVERY if page.needs_session]
SCOPED = [page for page in EVERY if page.scope is not None]
# An address for each parameter of a path, of something that is there or not: keys are looked at first.
VALUES = {"{id}": "1", "{table}": "transactions", "{month}": "2024-03", "{name:path}": "runbooks"}


def address(page: Page) -> str:
    """An address of the page."""
    path = page.path
    for name, value in VALUES.items():
        path = path.replace(name, value)
    return path


def name(page: Page) -> str:
    return f"{page.method} {page.path}"


def ask(person: Person, page: Page) -> httpx.Response:
    """What the page's own form would send, without its fields."""
    if page.method == "GET":
        return person.open(address(page))
    return person.client.post(address(page), data={"form_token": person.form_token}, headers=SAME_ORIGIN)


every_page = pytest.mark.parametrize("page", EVERY, ids=name)
guarded_page = pytest.mark.parametrize("page", GUARDED, ids=name)


def test_only_signing_in_needs_no_session() -> None:
    assert {page.path for page in EVERY if not page.needs_session} == {"/dashboard/sign-in"}


@guarded_page
def test_without_a_session_every_page_asks_for_a_key(shared_http: httpx.Client, page: Page) -> None:
    for cookie in ({}, {"Cookie": f"{cookie_name(shared_http)}={'a' * 43}"}):
        answer = shared_http.request(page.method, address(page), headers=SAME_ORIGIN | cookie)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert Document(answer.text).forms[0].action == "/dashboard/sign-in"


@pytest.mark.parametrize("page", [page for page in GUARDED if page.method == "POST"], ids=name)
def test_after_signing_in_a_person_is_at_the_page_of_the_form_that_was_refused(person: Person, page: Page) -> None:
    with httpx.Client(base_url=person.client.base_url) as nobody:
        answer = nobody.post(address(page), data={"form_token": "x"}, headers=SAME_ORIGIN)
    document = Document(answer.text)
    assert "Nothing was recorded" in document.text
    form_at = document.forms[0].fields["next"]
    assert person.open(form_at).status_code in (200, 404)  # a page; of a break that is not there


@guarded_page
def test_a_bearer_key_is_no_session(shared_http: httpx.Client, person: Person, page: Page) -> None:
    headers = SAME_ORIGIN | {"Authorization": f"Bearer {person.key}"}
    assert shared_http.request(page.method, address(page), headers=headers).status_code == 401


@pytest.mark.parametrize("page", SCOPED, ids=name)
def test_with_every_scope_but_its_own_a_page_names_what_is_missing(make_person: MakePerson, page: Page) -> None:
    assert page.scope is not None
    answer = ask(make_person(set(Scope) - {page.scope, *page.or_scopes}), page)
    assert answer.status_code == 403
    assert f"lacks the scope {page.scope}" in Document(answer.text).text
    in_its_place = () if "{table}" in page.path else page.or_scopes  # a page of one table needs that table's own
    for scope in (page.scope, *in_its_place):
        assert ask(make_person([scope]), page).status_code not in (401, 403)


def test_a_refused_page_leads_to_one_that_the_key_may_see(make_person: MakePerson) -> None:
    person = make_person([Scope.TRANSACTIONS_READ])
    refused = person.open("/dashboard")
    assert refused.status_code == 403
    links = Document(refused.text).links
    assert "/dashboard" not in links
    assert links.count("/dashboard/find") == 3  # at the name of the program, in the navigation, below what is said
    assert person.open("/dashboard/find").status_code == 200


def test_the_navigation_lists_the_pages_of_the_key_and_no_others(make_person: MakePerson) -> None:
    labels = {page.path: page for page in EVERY if page.label}
    for scopes in ([Scope.TRANSACTIONS_READ], [Scope.MONITORING_READ], [Scope.ARCHIVE_READ], list(Scope)):
        document = make_person(scopes).read("/dashboard/sessions")
        listed = [path for path in labels if path in document.links]
        opened = {path for path, page in labels.items() if {page.scope, *page.or_scopes} & {None, *scopes}}
        assert listed == [path for path in labels if path in opened]


@every_page
def test_a_form_without_its_token_changes_nothing(person: Person, page: Page) -> None:
    if page.method == "POST" and page.needs_session:
        assert person.client.post(address(page), headers=SAME_ORIGIN, data={"x": "1"}).status_code in (403, 422)
        assert person.client.post(address(page), headers=SAME_ORIGIN, data={}).status_code == 415
        assert person.client.post(address(page), headers=SAME_ORIGIN, json={}).status_code == 415
        assert person.open("/dashboard/sessions").status_code == 200


@every_page
def test_what_a_page_does_not_know_is_refused_by_name(person: Person, page: Page) -> None:
    unknown = f"{address(page)}?colour=red"
    answer = (
        person.open(unknown)
        if page.method == "GET"
        else person.client.post(unknown, headers=SAME_ORIGIN, data={"form_token": person.form_token})
    )
    assert answer.status_code == 422
    assert "colour: is not a parameter" in Document(answer.text).text


@every_page
def test_another_method_is_refused_with_those_that_are_taken(person: Person, page: Page) -> None:
    answer = person.client.request("DELETE", address(page))
    assert answer.status_code == 405
    assert page.method in answer.headers["allow"]
    assert ("HEAD" in answer.headers["allow"]) == any(one.path == page.path for one in SHOWN)
    assert Document(answer.text).all("h1")


@pytest.mark.parametrize("page", SHOWN, ids=name)
def test_a_page_is_html_with_one_heading_landmarks_and_nothing_inline(person: Person, page: Page) -> None:
    answer = person.open(address(page))
    assert answer.headers["content-type"].startswith("text/html")
    check_html(Document(answer.text))
    assert answer.headers["content-security-policy"] == PAGES_POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.content) < 100_000
    assert person.client.head(address(page)).content == b""


def check_html(document: Document) -> None:
    """What holds for every page, errors included."""
    assert document.html.startswith("<!doctype html>")
    assert [len(document.all(element)) for element in ("html", "head", "body", "main", "h1")] == [1] * 5
    pictures = [one for one in document.all("svg") if one.get("role") == "img"]  # each has a title of its own
    assert len(document.all("title")) == 1 + len(pictures)
    assert document.all("html")[0]["lang"] == "en"
    assert len(document.ids) == len(set(document.ids))
    assert document.links[0] == "#content"
    assert "content" in document.ids
    assert not document.all("style")
    assert [one.get("src") for one in document.all("script")] == [assets()["dashboard.js"].path]
    assert all(path.startswith("/dashboard/assets/") for path in document.files)
    for element, attributes in document.elements:
        assert "style" not in attributes, element
        assert not [one for one in attributes if one.startswith("on")], element
        assert "javascript:" not in str(attributes.get("href", "")).lower()
    labelled = {one.get("for") for one in document.all("label")}
    for field in document.all("input"):
        assert field.get("type") == "hidden" or field.get("id") in labelled or field.get("aria-label")
    assert all(one.get("scope") in ("col", "row", "colgroup", "rowgroup") for one in document.all("th"))
    assert len(document.all("caption")) == len(document.all("table"))
    assert all(one.get("role") == "img" or one.get("aria-hidden") == "true" for one in document.all("svg"))


def test_the_own_script_has_no_more_lines_than_a_person_reads_at_once() -> None:
    assert len(files("api.dashboard").joinpath("assets/dashboard.js").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_link_and_file_of_every_page_answers(person: Person) -> None:
    waiting, seen = [page.path for page in SHOWN if page.label], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = person.open(path)
        assert answer.status_code == 200, path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        document = Document(answer.text)
        found = [urljoin(path, one) for one in (*document.links, *document.files)]
        waiting += [one.partition("#")[0] for one in found if one.startswith("/")]
    assert {asset.path for asset in assets().values()} <= seen


def test_the_policy_allows_what_a_page_needs_and_no_more() -> None:
    worth = modifiers({"content-security-policy": PAGES_POLICY}, "")
    assert worth["content-security-policy"] == 10
    assert worth["x-frame-options"] == 5
    assert "unsafe" not in PAGES_POLICY
    assert "http" not in PAGES_POLICY


@pytest.mark.parametrize("path", ["/dashboard/no-such-page", "/dashboard/assets/dashboard.js", "/dashboard/<script>"])
def test_an_address_without_a_page_is_answered_with_one(shared_http: httpx.Client, path: str) -> None:
    answer = shared_http.get(path)
    assert answer.status_code == 404
    document = Document(answer.text)
    check_html(document)
    assert "There is no such page" in document.text
    assert answer.headers["x-request-id"] in document.text


def test_a_form_that_is_too_large_is_refused(person: Person) -> None:
    answer = person.client.post("/dashboard/sign-in", data={"key": "a" * 20_000}, headers=SAME_ORIGIN)
    assert answer.status_code == 413
    check_html(Document(answer.text))


@pytest.mark.parametrize("body", [b"key=%ff", b"key=%zz", b"key=a&key=b", b"other=1"])
def test_a_form_that_can_be_read_in_two_ways_is_refused(shared_http: httpx.Client, body: bytes) -> None:
    headers = SAME_ORIGIN | {"Content-Type": "application/x-www-form-urlencoded"}
    assert shared_http.post("/dashboard/sign-in", content=body, headers=headers).status_code == 422


def test_too_many_requests_are_a_page_that_says_when_to_come_back(ready: Settings) -> None:
    limits = ready.rate_limits.model_copy(update={"general": "2/day"})
    with serving(ready.model_copy(update={"rate_limits": limits})) as url, httpx.Client(base_url=url) as client:
        answers = [client.get("/dashboard/sign-in") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    document = Document(answers[-1].text)
    check_html(document)
    assert f"Wait {answers[-1].headers['retry-after']} s." in document.text


def test_while_postgresql_is_away_a_page_says_so(shared: Settings) -> None:
    nowhere = SecretStr("postgresql://x@127.0.0.1:1/x")
    away = shared.model_copy(update={"database_url": nowhere, "api_database_url": nowhere})
    with serving(away) as url, httpx.Client(base_url=url, timeout=30) as client:
        answer = client.get("/dashboard/sessions", headers={"Cookie": f"{cookie_name(client)}={'a' * 43}"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    check_html(Document(answer.text))


def test_an_error_that_nobody_foresaw_is_a_page_without_its_text(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr("api.dashboard.sessions.Sessions.of_key", fail)
    answer = person.open("/dashboard/sessions")
    assert answer.status_code == 500
    document = Document(answer.text)
    check_html(document)
    assert "the inside" not in document.text
    assert re.search(r"request id", document.text)


def test_the_access_log_has_the_page_and_the_key(person: Person, capfd: pytest.CaptureFixture[str]) -> None:
    del capfd
    assert person.open("/dashboard/sessions").status_code == 200
    metrics = person.client.get("/metrics", headers={"Authorization": f"Bearer {person.key}"}).text
    assert 'route="/dashboard/sessions"' in metrics


def test_a_hostile_client_id_is_text(person: Person, shared_database: psycopg.Connection[object]) -> None:
    hostile = "<script>alert(1)</script>\u202e" + "x" * 38
    shared_database.execute(
        "UPDATE treasury.api_keys SET client_id = %s WHERE key_id = %s", (hostile, person.key.split("_")[1])
    )
    fresh = Person(str(person.client.base_url), person.key)
    with fresh.client:
        shared_database.execute("SELECT pg_sleep(3)")  # the key is remembered for so long
        fresh.sign_in()
        document = fresh.read("/dashboard/sessions")
    check_html(document)
    assert hostile in document.text
