"""Schemathesis reads the OpenAPI document and tries to catch the API at not keeping it, on a real server.

No answer is a 5xx, every status is documented, every body conforms to its schema, every error is problem+json, what the
schema forbids is refused, and what it allows is not called malformed.
"""

import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import CheckContext, Response
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from api.documentation.openapi import make_document
from api.routing.routes import operations
from api.server.app import TITLE
from config import Settings, load_settings
from config.version import product_version
from ledger.scopes import Scope
from tasks.admin.keys import create_key
from tests.api.conftest import serving, unlimited
from tests.conftest import own_database
from tests.databases import Databases

QUICK, LONG = 3, 300
Case = schemathesis.Case[Any]  # of an operation, whose type Schemathesis does not export
schema = schemathesis.openapi.from_dict(make_document(TITLE, product_version(), operations(load_settings())))


@pytest.fixture(scope="module")
def server(
    databases: Databases, server_settings: Settings, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a running API, and the header of a key that opens everything."""
    with own_database(databases, server_settings, template, tmp_path_factory.mktemp("schemathesis")) as own:
        settings = unlimited(own)
        key = create_key(settings, "acme", list(Scope))
        with serving(settings) as url:
            yield url, {"Authorization": f"Bearer {key}"}


# Rules that JSON Schema has no words for. A refusal must name one of them, or the request was not valid.
_BEYOND_THE_SCHEMA = re.compile(
    r"""
    Another\ request\ has\ used\ this\ Idempotency-Key\.
    | cursor:\ must\ be\ the\ next_cursor\ of\ the\ page\ before.*
    | to:\ must\ be\ later\ than\ from
    | (?:from|to):\ must\ (?:not\ be\ before|be\ in\ the\ years)\ .*
    | group_by:\ transactions\ has\ no\ column\ for\ supplier
    | last_day:\ must\ be\ the\ first\ day\ or\ later.*
    | wallet_id:\ is\ required\ unless\ user_id\ is\ given
    | pattern:\ is\ required\ unless\ all\ is\ true
    | subject:\ must\ be\ wallet,\ user\ or\ client\ where\ a\ value\ is\ given
    | review_on:\ must\ be\ a\ day\ to\ come,.*
    | month\ .*\ is\ (?:not\ of\ the\ form\ YYYY-MM|outside\ .*|in\ no\ tier:.*)  # a hold on what is not there
    | months:\ the\ last\ month\ .*
    | unknown\ table\ .*
    | (?:wallet|user|client)\ .*\ has\ no\ row\ in\ .*,\ in\ any\ tier
    | (?:wallet|user|client):\ .*\ has\ no\ column\ .*
    | \w+:\ must\ (?:have|be)\ 1\ to\ \d+\ printable\ characters  # what is printable, Unicode says
    | \w+:\ must\ (?:have\ no\ space\ at\ either\ end|be\ in\ Unicode's\ form\ NFC,.*)
    | from:\ must\ be\ absent\ with\ cursor
    | amount:\ must\ be\ more\ than\ 0
    | fee:\ must\ be\ 0\ or\ more
    | currency:\ must\ be\ (?:an\ ISO\ 4217\ currency\ (?:code|in\ use\ at\ the\ time)|ZAR).*
    | processed_at:\ must\ be\ a\ date\ and\ time\ with\ an\ offset.*
    | metadata:\ must\ .*
    | .*\ with\ vend  # what a purchase finds out is not given, what it needs is
    | supplier:\ is\ not\ configured\ for\ purchases;\ choose\ another\ supplier
    """,
    re.VERBOSE,
)


def accepts_what_is_valid(ctx: CheckContext, response: Response, case: Case) -> bool | None:
    """Schemathesis' own check, but for the rules above."""
    if response.status_code == 422 and _BEYOND_THE_SCHEMA.fullmatch(response.json()["detail"]):
        return None
    return positive_data_acceptance(ctx, response, case)


def refuses_what_is_not(ctx: CheckContext, response: Response, case: Case) -> bool | None:
    """Schemathesis' own check; in a batch each item is judged by itself, and the batch is 200."""
    if case.path.endswith("/batch") and response.status_code == 200:
        answer = response.json()
        assert answer["rejected"] == sum(result["status"] == 422 for result in answer["results"])
        return None
    return negative_data_rejection(ctx, response, case)


def errors_are_problems(ctx: CheckContext, response: Response, case: Case) -> None:
    """Every error is problem+json, documented or not."""
    if response.status_code >= 400 and case.method != "HEAD":
        assert response.headers["content-type"] == ["application/problem+json"]
        assert response.json()["status"] == response.status_code


def judge(case: Case, server: tuple[str, dict[str, str]]) -> None:
    """One request and all that is asked of its answer."""
    url, headers = server
    case.call_and_validate(
        base_url=url,
        headers=headers,
        additional_checks=[accepts_what_is_valid, refuses_what_is_not, errors_are_problems],
        excluded_checks=[positive_data_acceptance, negative_data_rejection],
    )


@pytest.mark.heavy("every operation's answers are held against the document, and each rule of a value has a test")
@schema.parametrize()
@hypothesis.settings(max_examples=QUICK, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_its_document(case: Case, server: tuple[str, dict[str, str]]) -> None:
    judge(case, server)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@schema.parametrize()
@hypothesis.settings(max_examples=LONG, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_its_document_at_length(case: Case, server: tuple[str, dict[str, str]]) -> None:
    judge(case, server)
