"""One page as an ASGI application: session, limit, scope, query and form, then its handler. Every error is a page."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.abuse.visitor import visitor_of
from api.dashboard import cookie, error_pages
from api.dashboard.page import DONE, HTTP_STATUS, Page, PageCall
from api.dashboard.rendering import html
from api.keys.auth import NOBODY
from api.logs.access_log import of_request
from api.routing import parsing
from api.routing.endpoint import note_refusal
from api.routing.problems import FORBIDDEN, NO_METHOD, NOT_FOUND, UNAUTHORIZED, HttpError, kind_of
from api.server.services import Services
from ledger.errors import TreasuryError

FORM_TOKEN = "form_token"  # noqa: S105  # the name of a field
REASON = "reason"  # the field of every form that a person writes into
REFRESH_HEADER = "x-dashboard-refresh"  # of the requests of an open page: they do not keep a session alive
_MOST_FORM_BYTES = 16_384


class PageEndpoint:
    """A bare route, as `api.routing.endpoint.Endpoint` is one. ``navigation`` are the pages that may be listed."""

    def __init__(self, page: Page, services: Services, navigation: tuple[Page, ...]) -> None:
        self._page = page
        self._services = services
        self._navigation = navigation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        over_https = self._services.defence.addresses.is_https(scope)
        call = PageCall(request, self._page, self._services, {}, {}, NOBODY, None, over_https, self._navigation)
        try:
            call = await self._identify(call)
            await self._admit(call)
            call = await self._read(call)
            self._check_form(call)
            response = await self._answer(call)
        except ClientDisconnect:
            return  # the client has gone
        except Exception as error:  # noqa: BLE001  # the last line, as in the other endpoint
            note_refusal(self._services, request, error)
            response = self._refuse(call, error, await self._written(call, error))
        finally:
            self._services.bodies.give_back(scope)
        response.raw_headers.extend(visitor_of(scope).headers)
        await response(scope, receive, send)

    async def _identify(self, call: PageCall) -> PageCall:
        """The call with its session and key. Raises problem 401, and 403 for a form of another site."""
        page, record = self._page, of_request(call.request.scope)
        record.route = page.path
        if page.method == "POST" and _is_of_another_site(call.request.headers):
            raise HttpError(FORBIDDEN, "The form was sent from another site. Open the page here, and send it again.")
        if not page.needs_session:
            return call
        token = cookie.token_of(call.request, over_https=call.over_https)
        session, key = await self._services.sessions.find(token, over_https=call.over_https)
        record.key_id = key.key_id
        return replace(call, session=session, key=key)

    async def _admit(self, call: PageCall) -> None:
        """Raises problems 403 and 429 where the key may not see the page, or has asked too much."""
        page, services, visitor = self._page, self._services, visitor_of(call.request.scope)
        who = call.key.key_id or visitor.sender.address
        verdict = await services.defence.limiter.spend(page.policy, who, call.key.limits)
        if verdict is not None:
            verdict.require()
            visitor.headers = verdict.headers()
        scope = page.scope_for(call.key)
        if scope is not None:
            call.key.require(scope)
        if call.session is not None and REFRESH_HEADER not in call.request.headers:
            await services.sessions.note_use(call.session)

    async def _read(self, call: PageCall) -> PageCall:
        """The call with its query and its form, whose token is still to be checked. Raises FieldError and problems 413
        and 415.
        """
        page, request = self._page, call.request
        known = page.query | ({DONE} if page.notices else set())
        query = parsing.query(request, known)
        if DONE in query:
            parsing.choice(DONE, query[DONE], tuple(page.notices))
        if page.method != "POST":
            return replace(call, query=query)
        parsing.require_form(request)
        body = await parsing.read_body(request, _MOST_FORM_BYTES, self._services.bodies)
        return replace(call, query=query, form=parsing.form(body, page.fields | {FORM_TOKEN}))

    def _check_form(self, call: PageCall) -> None:
        """Raises a 403 problem for a form that is not of the session."""
        if self._page.method == "POST" and call.session is not None:
            self._services.sessions.check_form(call.session, call.form.get(FORM_TOKEN, ""))

    async def _written(self, call: PageCall, error: Exception) -> str:
        """The reason in a form that is refused, for the person to copy: it may have taken longer than the session."""
        form = call.form
        if not form and kind_of(error) is UNAUTHORIZED and REASON in self._page.fields:
            with suppress(TreasuryError, ClientDisconnect):  # what cannot be read is not given back
                form = (await self._read(call)).form
        return form.get(REASON, "")

    async def _answer(self, call: PageCall) -> Response:
        answer = await self._page.handler(call)
        if isinstance(answer, Response):
            return answer
        return html(self._page.template, self._frame(call) | dict(answer), int(answer.get(HTTP_STATUS, 200)))

    def _refuse(self, call: PageCall, error: Exception, written: str) -> Response:
        """The page of an error. Without a session it is the page to sign in, which leads back to what was asked for."""
        is_form = self._page.method == "POST" and self._page.needs_session
        form_at = (self._page.form_at or call.request.url.path) if is_form else ""
        return error_pages.page_of(error, self._frame(call) | {"written": written}, call.request, form_at)

    def _frame(self, call: PageCall) -> dict[str, Any]:
        """The values that every template gets."""
        services, request = self._services, call.request
        listed = [page for page in call.site if call.session is not None and page.is_for(call.key)]
        done = call.query.get(DONE)
        return frame(
            request,
            title=self._page.title,
            navigation=[{"path": page.path, "label": page.label} for page in listed],
            refreshes=self._page.refreshes,
            client_id=call.key.client_id,
            key_id=call.key.key_id,
            scopes=call.key.scopes,
            form_token="" if call.session is None else services.sessions.form_token(call.session),
            notice="" if done is None else self._page.notices[done],
            now=datetime.now(UTC),  # `services.now` fails while no clock can be compared: a page is still shown
        )


def frame(request: Request, **values: Any) -> dict[str, Any]:
    """The values of the frame of a page; those that are not given are as for somebody who has not signed in."""
    empty = dict.fromkeys(("client_id", "key_id", "form_token", "notice", "written"), "")
    nobody = {"navigation": [], "refreshes": False, **empty}
    known = {"path": request.url.path, "request_id": of_request(request.scope).request_id, "now": None}
    return {**nobody, "scopes": frozenset(), **known, **values}


class NoSuchPage:
    """Answers an address below the dashboard's that no page has."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _refuse(HttpError(NOT_FOUND), scope, receive, send)


async def refuse_method(scope: Scope, receive: Receive, send: Send, allow: str) -> None:
    """Answer 405 with a page. ``allow`` lists the methods that the address takes."""
    await _refuse(HttpError(NO_METHOD, headers={"Allow": allow}), scope, receive, send)


async def _refuse(error: HttpError, scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    values: Mapping[str, Any] = frame(request, title=kind_of(error).title)
    await error_pages.page_of(error, values, request)(scope, receive, send)


def _is_of_another_site(headers: Headers) -> bool:
    """Return whether a browser says that a page of another site sent the form. Over plain HTTP browsers send no
    `Sec-Fetch-Site`, and the origin says it; programs send neither.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site != "same-origin"
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
