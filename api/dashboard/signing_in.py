"""Signing in and out, and the list of one's own sessions."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.responses import Response

from api.abuse.visitor import visitor_of
from api.dashboard import cookie
from api.dashboard.browsers import browser_name
from api.dashboard.error_pages import HOME, local_path
from api.dashboard.page import Page, PageCall
from api.dashboard.sessions import Visit
from api.keys.auth import ApiKey
from api.logs.access_log import network, of_request
from api.routing import parsing
from api.routing.problems import NOT_FOUND, UNAUTHORIZED, HttpError

SIGN_IN = f"{HOME}/sign-in"
SIGN_OUT = f"{HOME}/sign-out"
SESSIONS = f"{HOME}/sessions"
_KEY, _WAY = "key", "next"
_SIGNED_OUT, _ENDED = "signed-out", "ended"
_MOST_ID = 999_999_999
_LONGEST_KEY = 256


def pages() -> tuple[Page, ...]:
    """The pages of this module."""
    return (
        Page(
            SIGN_IN,
            "Sign in",
            show_form,
            "sign_in.html",
            query=frozenset({_WAY}),
            notices={_SIGNED_OUT: "You have signed out."},
            needs_session=False,
        ),
        Page(SIGN_IN, "Sign in", sign_in, method="POST", fields=frozenset({_KEY, _WAY}), needs_session=False),
        Page(SIGN_OUT, "Sign out", sign_out, method="POST", form_at=HOME),
        Page(
            SESSIONS,
            "Sessions",
            show_sessions,
            "sessions.html",
            notices={_ENDED: "The session has ended."},
        ),
        Page(f"{SESSIONS}/{{id}}/end", "End a session", end_session, method="POST", form_at=SESSIONS),
    )


async def show_form(call: PageCall) -> Mapping[str, Any]:
    """The form to sign in with."""
    return {"said": "", "is_error": False, "way": local_path(call.query.get(_WAY, HOME))}


async def sign_in(call: PageCall) -> Response:
    """Begin a session of the key, and go to the page that was asked for. A wrong key counts as a wrong bearer key."""
    services, request = call.services, call.request
    key = parsing.required(_KEY, call.form).strip()
    if len(key) > _LONGEST_KEY:
        raise HttpError(UNAUTHORIZED, "The API key is not valid.")
    try:
        accepted = await services.key_throttle.authenticate(f"Bearer {key}", visitor_of(request.scope).sender)
    except HttpError as error:
        if error.kind is UNAUTHORIZED:
            raise HttpError(UNAUTHORIZED, "The API key is not valid.", error.headers) from None
        raise
    record = of_request(request.scope)
    record.key_id = accepted.key_id
    browser = browser_name(request.headers.get("user-agent", ""))
    visit = Visit(network(record.address), browser, call.over_https)
    await _end_former(call)
    token = await services.sessions.begin(accepted, visit)
    response = call.redirect(_landing(call, accepted))
    seconds = int(services.settings.dashboard.life.total_seconds())
    cookie.set_on(response, request, token, over_https=call.over_https, seconds=seconds)
    return response


async def _end_former(call: PageCall) -> None:
    """End the session that this browser still has: its cookie is about to be replaced."""
    with suppress(HttpError):  # it has none, or none that holds
        token = cookie.token_of(call.request, over_https=call.over_https)
        session, key = await call.services.sessions.find(token, over_https=call.over_https)
        await call.services.sessions.end(session.session_id, key.key_id)


def _landing(call: PageCall, key: ApiKey) -> str:
    """The page that was asked for; for nothing in particular the first one that is for the key."""
    way = local_path(call.form.get(_WAY, HOME))
    return way if way != HOME else next((page.path for page in call.site if page.is_for(key)), SESSIONS)


async def sign_out(call: PageCall) -> Response:
    """End the session of this browser."""
    await call.services.sessions.end(call.own_session.session_id, call.key.key_id)
    response = call.redirect(SIGN_IN, _SIGNED_OUT)
    cookie.take_from(response, call.request, over_https=call.over_https)
    return response


async def show_sessions(call: PageCall) -> Mapping[str, Any]:
    """The sessions of the key."""
    sessions = await call.services.sessions.of_key(call.key.key_id)
    return {"sessions": sessions, "own_id": call.own_session.session_id}


async def end_session(call: PageCall) -> Response:
    """End another session of the key, or this one, which signs out."""
    session_id = parsing.integer("id", call.request.path_params["id"], 1, _MOST_ID)
    if session_id == call.own_session.session_id:
        return await sign_out(call)
    if not await call.services.sessions.end(session_id, call.key.key_id):
        raise HttpError(NOT_FOUND, "This key has no open session of that number.")
    return call.redirect(SESSIONS, _ENDED)
