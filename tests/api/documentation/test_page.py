"""The page `/docs`: its files, and a real browser in which a key is entered and requests are sent."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from api.documentation import page as docs_page
from api.documentation.page import BUNDLE, ICON, START, STYLE
from api.server.app import TITLE
from config import Settings
from ledger.errors import ConfigError
from tests.api.conftest import MakeKey, serving
from tests.api.documentation.browser import Page, open_page

LINKED = re.compile(r'(?:href|src)="(/[^"]+)"')
CREATE, READ = "#operations-transactions-createTransaction", "#operations-transactions-getTransaction"
TYPES = {STYLE: "text/css", BUNDLE: "text/javascript", START: "text/javascript", ICON: "image/png"}


def test_the_page_names_files_of_the_api_alone_and_has_no_script_or_style_in_it(shared_http: httpx.Client) -> None:
    page = shared_http.get("/docs")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    files = {asset.path for asset in docs_page.assets().values()}
    assert set(LINKED.findall(page.text)) == files | {"/openapi.json"}
    assert not re.search(r"https?:|<style|\sstyle=|\son\w+=|<script>|<script[^>]*>[^<]", page.text)
    assert f"<title>{TITLE}</title>" in page.text
    assert "<noscript>" in page.text


@pytest.mark.parametrize("name", TYPES)
def test_a_file_of_the_page_is_kept_for_good_and_found_unchanged(shared_http: httpx.Client, name: str) -> None:
    path = docs_page.assets()[name].path
    answer = shared_http.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == TYPES[name]
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["vary"] == "Accept-Encoding"
    again = shared_http.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]
    other = shared_http.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, answer.content)
    assert shared_http.head(path).headers["content-length"] == answer.headers["content-length"]
    refused = shared_http.post(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_text_is_sent_compressed_to_clients_that_take_it(shared_http: httpx.Client) -> None:
    path = docs_page.assets()[BUNDLE].path

    def sent(accepted: str) -> tuple[str | None, str, bytes]:
        with shared_http.stream("GET", path, headers={"Accept-Encoding": accepted}) as answer:
            return answer.headers.get("content-encoding"), answer.headers["etag"], b"".join(answer.iter_raw())

    encoding, etag, packed = sent("gzip, deflate, br")
    plainly = [sent(accepted) for accepted in ("", "br", "gzip;q=0", "identity")]
    assert encoding == "gzip"
    assert {(coding, tag) for coding, tag, _ in plainly} == {(None, plainly[0][1])}
    assert plainly[0][1] != etag
    assert {body for *_, body in plainly} == {gzip.decompress(packed)}
    assert len(packed) < len(plainly[0][2]) / 2


@pytest.mark.parametrize(
    "path",
    [
        "/docs/",
        "/docs/swagger-ui.css",
        "/docs/swagger-ui-bundle-0000000000000000.js",
        "/docs/../api/server/app.py",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
        "/docs/..%2f..%2fetc%2fpasswd",
        "/docs/main.py",
        "/docs/start.js",
    ],
)
def test_no_other_file_has_an_address(shared_http: httpx.Client, path: str) -> None:
    assert shared_http.get(httpx.URL(str(shared_http.base_url).rstrip("/") + path)).status_code == 404


def test_an_address_changes_with_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = docs_page.assets()[START].path
    other = tmp_path / "start.js"
    other.write_text("// another version")
    monkeypatch.setitem(docs_page._OWN, START, other)
    docs_page.assets.cache_clear()
    try:
        assert docs_page.assets()[START].path != before
    finally:
        monkeypatch.undo()
        docs_page.assets.cache_clear()
    assert docs_page.assets()[START].path == before


@pytest.mark.parametrize("absent", ["package", "file"])
def test_a_missing_file_is_named_at_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, absent: str) -> None:
    if absent == "package":
        monkeypatch.setattr(docs_page, "PACKAGE", "no_such_package")
    else:
        monkeypatch.setitem(docs_page._OWN, START, tmp_path / "gone.js")
    docs_page.assets.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"no_such_package|gone\.js"):
            docs_page.assets()
    finally:
        docs_page.assets.cache_clear()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A tab of a fresh browser. What the browser complains about fails the test."""
    with open_page(tmp_path) as page:
        yield page


@pytest.fixture
def url(ready: Settings) -> Iterator[str]:
    """An API with the limits and the watch that it has by default."""
    with serving(ready) as url:
        yield url


@pytest.mark.slow
def test_a_person_enters_a_key_and_sends_requests(page: Page, url: str, make_key: MakeKey, tmp_path: Path) -> None:
    key = make_key()["Authorization"].removeprefix("Bearer ")
    page.open(f"{url}/docs")
    _authorize(page, key)

    page.click(f"{CREATE} .opblock-summary-control")
    page.click(f"{CREATE} .try-out__btn")
    page.type(f"{CREATE} tr[data-param-name='Idempotency-Key'] input", "from-the-page-1")
    body = json.loads(page.wait_for(f"document.querySelector('{CREATE} textarea').value"))
    page.type(f"{CREATE} textarea", json.dumps(body | {"amount": "77.10", "reference": "from the page"}))
    page.click(f"{CREATE} .execute")
    assert _status(page, CREATE) == "201"
    row = json.loads(_answer(page, CREATE))
    assert (row["amount"], row["reference"], row["client_id"]) == ("77.10", "from the page", "acme")

    page.click(f"{READ} .opblock-summary-control")
    page.click(f"{READ} .try-out__btn")
    page.type(f"{READ} tr[data-param-name='id'] input", row["id"])
    page.click(f"{READ} .execute")
    assert _status(page, READ) == "200"
    assert json.loads(_answer(page, READ)) == row
    page.picture(tmp_path / "page.png")

    _check_nothing_kept(page, key)
    assert page.problems == []
    asked = [address for address in page.requested if not address.startswith("data:image/")]
    assert asked
    assert [address for address in asked if not address.startswith(f"{url}/")] == []


@pytest.mark.slow
def test_a_reload_forgets_the_key(page: Page, url: str, make_key: MakeKey) -> None:
    page.open(f"{url}/docs")
    _authorize(page, make_key()["Authorization"].removeprefix("Bearer "))
    page.open("about:blank")
    page.open(f"{url}/docs#/transactions/getTransaction")
    page.wait_for("document.querySelector('.auth-wrapper .authorize.unlocked') !== null")

    page.click(f"{READ} .try-out__btn")
    page.type(f"{READ} tr[data-param-name='id'] input", "01a20733-cc6b-74a3-a860-71497a499eb9")
    page.click(f"{READ} .execute")
    assert _status(page, READ) == "401"


@pytest.mark.slow
def test_an_old_link_to_an_operation_opens_it(page: Page, url: str) -> None:
    page.open(f"{url}/docs#getVasTransaction")
    page.wait_for("document.querySelector('#operations-vas-transactions-getVasTransaction.is-open') !== null")
    assert page.value("location.hash") == "#/vas-transactions/getVasTransaction"
    assert page.problems == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "attempt",
    [
        "fetch('http://elsewhere.example/').catch(() => 0)",
        "document.body.append(Object.assign(new Image(), {src: 'http://elsewhere.example/p.png'}))",
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))",
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\" onclick=\"1\">')",
    ],
)
def test_the_policy_stops_what_a_foreign_script_would_do(page: Page, url: str, attempt: str) -> None:
    """And shows that a violation is noticed: without this, no violation in the tests above would mean little."""
    page.open(f"{url}/docs")
    page.value(f"void ({attempt})")
    assert "content security policy" in page.wait_for_problem().lower()
    assert page.value("window.ran") is None


@pytest.mark.slow
def test_the_page_evaluates_no_text(page: Page, url: str) -> None:
    page.open(f"{url}/docs")
    name = page.value("(() => { try { return eval('1') } catch (error) { return error.name } })()")
    assert name == "EvalError"


def _authorize(page: Page, key: str) -> None:
    page.click(".auth-wrapper .authorize")
    page.type(".modal-ux input", key)
    page.click(".modal-ux .auth.authorize")
    page.click(".modal-ux .btn-done")
    page.wait_for("document.querySelector('.auth-wrapper .authorize.locked') !== null")


def _status(page: Page, operation: str) -> str:
    return page.text(f"{operation} .live-responses-table tbody .response-col_status").split()[0]


def _answer(page: Page, operation: str) -> str:
    return page.text(f"{operation} .live-responses-table tbody .highlight-code code")


def _check_nothing_kept(page: Page, key: str) -> None:
    """The key is neither in the browser's stores nor in the page's address."""
    stores = page.value("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert json.loads(stores) == [{}, {}, ""]
    assert page.value("indexedDB.databases().then((found) => found.length)") == 0
    assert key not in unquote(page.value("location.href"))
