"""The documentation as pages: every link leads somewhere, and the runbook of an alert is one click away."""

import re
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from api.dashboard import manual, rendering
from api.dashboard.manual import MANUAL, address_of, read_document
from config import Settings
from ledger.alerts import Alert, Severity
from ledger.scopes import Scope
from sql.connection import connect
from tasks.alerting.runbooks import runbook
from tasks.alerting.store import raise_alert
from tests.api.dashboard.conftest import MakePerson
from tests.api.dashboard.person import Document, Person
from tests.api.dashboard.test_pages import check_html

FOLDER = rendering.MANUAL_FOLDER
NAMES = sorted(str(file.relative_to(FOLDER).with_suffix("")) for file in FOLDER.rglob("*.md"))


def test_there_is_a_page_of_every_file() -> None:
    assert {"README", "runbooks", "operations", "decisions/0022-what-a-session-must-see"} <= set(NAMES)
    documents = {name: read_document(name) for name in NAMES}
    assert not [name for name, document in documents.items() if document is None or not document.title]


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_page_and_a_section_that_are_there(name: str) -> None:
    document = read_document(name)
    assert document is not None
    page = Document(f"<main>{document.text}</main>")
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "img", "iframe", "form"} & {element for element, _ in page.elements}
    assert [id_ for id_, _ in document.sections if id_ not in page.ids] == []
    for link in page.links:
        place, section = urldefrag(link)
        if place.startswith("https://"):
            continue
        assert not place or place.startswith(f"{MANUAL}/"), link
        other = read_document(place.removeprefix(f"{MANUAL}/")) if place else document
        assert other is not None, link
        assert not section or section in Document(f"<main>{other.text}</main>").ids, link


def test_what_lies_elsewhere_is_named_and_not_linked() -> None:
    source = FOLDER.joinpath("README.md").read_text(encoding="utf-8")
    elsewhere = re.findall(r"\[([^\]]+)\]\((\.\./[^)]+)\)", source)
    document = read_document("README")
    assert elsewhere
    assert document is not None
    page = Document(f"<main>{document.text}</main>")
    assert not [link for link in page.links if ".." in link]
    for words, _ in elsewhere:
        assert words.replace("`", "") in page.text


def test_an_alert_leads_to_its_runbook(shared: Settings, make_person: MakePerson) -> None:
    with connect(shared.database_dsn, "tests") as connection:
        raise_alert(connection, Alert("health_redis", "system", Severity.CRITICAL, "Redis", "Start Redis", {}))
    person = make_person([Scope.MONITORING_READ])
    links = person.read("/dashboard").links
    assert f"{MANUAL}/runbooks#health_redis" in links
    assert f"{MANUAL}/README" in links
    page = person.read(f"{MANUAL}/runbooks")
    check_html(page)
    assert "health_redis" in page.ids
    assert f"{MANUAL}/operations#killing-is-safe" in page.links


def test_where_the_runbooks_are_published_alerts_lead_there(settings: Settings) -> None:
    published = settings.model_copy(update={"runbooks_url": "https://wiki.example/runbooks"})
    assert address_of(runbook(published, "health_redis")) == "https://wiki.example/runbooks#health_redis"


def test_without_the_folder_a_place_is_text(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "MANUAL_FOLDER", tmp_path / "nowhere")
    monkeypatch.setattr(manual, "MANUAL_FOLDER", tmp_path / "nowhere")
    place = runbook(settings, "health_redis")
    assert address_of(place) == place
    assert read_document("a-name-that-was-never-asked-for") is None


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "../README",
        "..%2FREADME",
        "decisions%2F..%2Frunbooks",
        "images/now.png",
        "x" * 300,
        "runbooks.md",
        "%00",
        "",
    ],
)
def test_any_other_address_is_a_page_that_says_so(person: Person, name: str) -> None:
    answer = person.open(f"{MANUAL}/{name}")
    assert answer.status_code == 404
    check_html(Document(answer.text))
