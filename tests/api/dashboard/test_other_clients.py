"""Without `read:all` no page and no file has anything of another client's rows: every page is opened."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pyarrow.parquet as pq
import pytest

from api.dashboard.pages import pages
from config import Settings
from config.retention import RetentionSettings
from ledger.months import Month
from ledger.proof_files import check_proof
from ledger.scopes import Scope
from ledger.transparency.policies import LogPolicy
from tasks.admin.keys import create_key
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import delete_months
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.api.conftest import serving, unlimited
from tests.api.dashboard.person import Person
from tests.api.ledger_rows import Ledger

OWN, OTHER = "acme", "client-of-others"
SHARED_WALLET, THEIR_WALLET, THEIR_USER = "w-shared", "w-of-others", "u-of-others"
DELETED, COLD = Month(2014, 1), Month(2024, 3)
TABLES = ("transactions", "vas_transactions")
ROWS_AND_ARCHIVE = (Scope.TRANSACTIONS_READ, Scope.VAS_READ, Scope.ARCHIVE_READ, Scope.ARCHIVE_HOLDS)
DOWNLOADED, KEPT, PROOFS = ("csv", "parquet"), ("html", "json"), ("proof", "wallet-month")


@dataclass(frozen=True)
class Site:
    """A ledger with rows of two clients in every tier: its settings, months, certificate, and the rows by client."""

    settings: Settings
    months: Sequence[Month]
    certificate: str
    own: Sequence[dict[str, Any]]
    theirs: Sequence[dict[str, Any]]

    @property
    def secrets(self) -> set[str]:
        """What is of the others' rows alone."""
        fields = ("id", "client_id", "user_id", "reference", "description", "amount")
        return {str(row[field]) for row in self.theirs for field in fields} | {THEIR_WALLET}

    def addresses(self) -> Mapping[str, Sequence[str]]:
        """Addresses of each page, by its path: of what both clients have, and of what only the others have."""
        return {
            **self._fixed(),
            **self._of_months(),
            **self._searches(),
            **self._rows(),
        }

    def _fixed(self) -> Mapping[str, Sequence[str]]:
        of_life = ("/life", "/life/checkpoint", "/life/policy")
        of_finance = ("/reconciliation", "/reconciliation/periods", "/queue")
        certificate = f"/dashboard/certificates/{self.certificate}"
        return {
            **{
                f"/dashboard{path}": [f"/dashboard{path}"]
                for path in ("", *of_life, *of_finance, "/sign-in", "/sessions")
            },
            "/dashboard/docs/{name:path}": ["/dashboard/docs/runbooks"],
            "/dashboard/reconciliation/breaks/{id}": ["/dashboard/reconciliation/breaks/1"],
            "/dashboard/certificates/{id}": [certificate],
            "/dashboard/certificates/{id}/download/{form}": [f"{certificate}/download/{form}" for form in KEPT],
        }

    def _of_months(self) -> Mapping[str, Sequence[str]]:
        path = "/dashboard/life/{table}/{month}"
        every = [path.format(table=table, month=month) for table in TABLES for month in self.months]
        wallets = [urlencode({"wallet_id": wallet}) for wallet in (SHARED_WALLET, THEIR_WALLET)]
        return {
            path: every,
            f"{path}/row": [f"{month}/row?id={row['id']}" for month in every for row in self.theirs],
            f"{path}/statement": [f"{month}/statement?{wallet}" for month in every for wallet in wallets],
        }

    def _searches(self) -> Mapping[str, Sequence[str]]:
        (row, *_) = self.theirs
        values = {"wallet_id": [SHARED_WALLET, THEIR_WALLET], "user_id": [THEIR_USER], "id": [str(row["id"])]}
        values["reference"] = [str(row["reference"])]
        days = {"from": str(COLD.first_day), "to": str(datetime.now(UTC).date())}
        found = [urlencode({"by": by, "value": value, **days}) for by, some in values.items() for value in some]
        usual = {"table": "all", "type": "yes", "status": "yes", **days}
        money = [urlencode(usual | more) for more in ({}, {"client_id": "yes"}, {"only_client": OTHER})]
        return {
            "/dashboard/find": [f"/dashboard/find?{query}&count=yes" for query in found],
            "/dashboard/find/download/{form}": [
                f"/dashboard/find/download/{form}?{query}" for form in DOWNLOADED for query in found
            ],
            "/dashboard/money": ["/dashboard/money", *(f"/dashboard/money?{query}" for query in money)],
            "/dashboard/money/download/{form}": [f"/dashboard/money/download/csv?{query}" for query in money],
        }

    def _rows(self) -> Mapping[str, Sequence[str]]:
        path = "/dashboard/find/{table}/{id}"
        rows = [path.format(table=table, id=row["id"]) for table in TABLES for row in (*self.own, *self.theirs)]
        return {path: rows, **{f"{path}/{kind}": [f"{row}/{kind}" for row in rows] for kind in PROOFS}}


@pytest.fixture
def site(ledger: Ledger) -> Site:
    settings = ledger.settings.model_copy(update={"retention": RetentionSettings(grace_days=0)})
    present = Month.of(datetime.now(UTC))
    months = (DELETED, COLD, present.plus(-8), present)
    own, theirs = list[dict[str, Any]](), list[dict[str, Any]]()
    for name in TABLES:
        table = settings.table(name)
        for number, month in enumerate(months):
            at = [month.lower + timedelta(minutes=1)]
            own += ledger.add(table, at, wallet_id=SHARED_WALLET, user_id="u-own", reference=f"ref-own-{number}")
            for wallet in (SHARED_WALLET, THEIR_WALLET):
                words = {"reference": f"ref-{wallet}-{name}-{number}", "description": f"words-{wallet}-{number}"}
                theirs += ledger.add(
                    table, at, wallet_id=wallet, user_id=THEIR_USER, client_id=OTHER, amount="4321.98", **words
                )
        for month in months[:2]:
            ledger.cold(table, month)
        ledger.warm(table, months[2])
    publish_log(settings)
    return Site(settings, months, _deleted(settings), own, theirs)


def _deleted(settings: Settings) -> str:
    """Let people delete the months past their policy; returns the number of a certificate."""
    asked = request_deletion(settings, [settings.table("transactions")], "anna", "past the policy")
    for actor in ("ben", "carol"):
        approve(settings, asked.request_id, actor, "looked at")
    (done,) = delete_months(settings)
    return done.certificate


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    with serving(unlimited(site.settings)) as url:
        yield url


def text_of(answer: httpx.Response, policy: LogPolicy) -> str:
    """An answer as text, a Parquet or proof file as the text of its rows; without the thin spaces of numbers."""
    if answer.content.startswith(b"c2sp.org/tlog-proof"):
        return str(check_proof(answer.content, policy).proved)
    if answer.content.startswith(b"PAR1"):
        return str(pq.read_table(io.BytesIO(answer.content)).to_pylist())
    return answer.text.replace("\u202f", "")


def seen(site: Site, url: str, scopes: Sequence[Scope]) -> dict[str, set[str]]:
    """What a person of `OWN` sees of the others, by the path of the page. What an address names is no secret in it."""
    person = Person(url, create_key(site.settings, OWN, scopes))
    policy = LogPolicy.parse(policy_text(site.settings).encode())
    by_path: dict[str, set[str]] = {}
    with person.client:
        assert person.sign_in().status_code == 303
        for path, addresses in site.addresses().items():
            for address in addresses:
                answer = person.open(address)
                assert answer.status_code < 500, (address, answer.text)
                text = text_of(answer, policy)
                secrets = {secret for secret in site.secrets if secret in text and secret not in address}
                by_path[path] = by_path.get(path, set()) | secrets
    return by_path


def test_every_page_has_an_address_here(site: Site) -> None:
    assert set(site.addresses()) == {page.path for page in pages() if page.method == "GET"}


def test_without_read_all_no_page_and_no_file_has_anything_of_another_client(site: Site, url: str) -> None:
    assert {path: secrets for path, secrets in seen(site, url, ROWS_AND_ARCHIVE).items() if secrets} == {}


def test_with_read_all_the_same_addresses_have_it(site: Site, url: str) -> None:
    """So the secrets are what pages would show."""
    everything = seen(site, url, (*ROWS_AND_ARCHIVE, Scope.READ_ALL))
    having = {path for path, secrets in everything.items() if secrets}
    row, month = "/dashboard/find/{table}/{id}", "/dashboard/life/{table}/{month}"
    assert having == {
        "/dashboard/find",
        "/dashboard/find/download/{form}",
        row,
        f"{row}/proof",
        f"{row}/wallet-month",
        f"{month}/row",
        f"{month}/statement",
        "/dashboard/money",
        "/dashboard/money/download/{form}",
    }
