"""The page of each error, in plain words: what happened, what to do, and the id under which the log has it."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.dashboard.rendering import html
from api.dashboard.sessions import FIRST_VISIT
from api.routing import problems
from api.routing.problems import (
    FORBIDDEN,
    INTERNAL,
    NO_METHOD,
    NOT_FOUND,
    RETRY_AFTER_S,
    TOO_MANY,
    UNAUTHORIZED,
    UNAVAILABLE,
    HttpError,
)

HOME = "/dashboard"
# A way back leads to a page of the dashboard and nowhere else: no scheme, no host, no backslash, no segment of dots,
# also not one that a browser would decode to such.
_LOCAL = re.compile(r"/dashboard(?:/[\w~:@+-][\w.~:@+-]*)*(?:\?[\w.~%:@+=&,-]*)?\Z", re.ASCII)
_LONGEST_WAY = 2000
_TO_DO = {
    FORBIDDEN.status: "Sign in with a key that has the scope. `treasury key create` makes one and lists all scopes.",
    NOT_FOUND.status: "Look for a mistake in the address, or go on from the navigation.",
    NO_METHOD.status: "Open the page again from the navigation.",
    TOO_MANY.status: "Wait, then load the page again.",
    UNAVAILABLE.status: "Load the page again in some seconds. `treasury health` says what does not answer.",
    INTERNAL.status: "Give the request id to the operator of this installation: the log says more.",
}
_WORDS = {
    NOT_FOUND: "There is no such page, or nothing here that this key may see.",
    NO_METHOD: "This address does not take what was sent to it.",
    INTERNAL: "The server failed while it made this page.",
}


def local_path(text: str) -> str:
    """``text`` if it is an address of the dashboard that a person can be sent to, else the dashboard's first page."""
    good = len(text) <= _LONGEST_WAY and _LOCAL.match(text) and not text.startswith(f"{HOME}/sign-")
    return text if good else HOME


def page_of(error: Exception, frame: Mapping[str, Any], request: Request, form_at: str = "") -> Response:
    """The page of ``error``, with its status and headers. ``frame`` is what every page shows around it. ``form_at`` is
    the address of the page whose form was refused, "" where none was sent.
    """
    kind = problems.kind_of(error)
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    said = problems.document(error)["detail"]
    if kind is UNAUTHORIZED:
        response = _sign_in(said, frame, request, form_at)
        headers.setdefault("WWW-Authenticate", "Bearer")
    else:
        said = _WORDS.get(kind, said) if said == kind.detail else said
        if kind.status in (TOO_MANY.status, UNAVAILABLE.status):
            headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        is_about_form = kind is FORBIDDEN and "WWW-Authenticate" not in headers  # no key has what it lacks
        to_do = "" if is_about_form else _TO_DO.get(kind.status, "")
        values = {"title": kind.title, "status": kind.status, "said": said, "to_do": to_do}
        values |= {"retry_after_s": headers.get("Retry-After"), "way": local_path(form_at)}
        response = html("error.html", {**frame, "refreshes": False, **values}, kind.status)
    response.headers.update(headers)
    return response


def _sign_in(said: str, frame: Mapping[str, Any], request: Request, form_at: str) -> Response:
    """The page to sign in. After it a person is where they wanted to be, or at the page of the form that they sent."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    way = local_path(asked if request.method in {"GET", "HEAD"} else form_at)
    is_error = bool(form_at) or said != FIRST_VISIT
    if form_at:
        said = f"Nothing was recorded, because your session had ended. {said}"
    values = {"title": "Sign in", "said": said, "way": way, "navigation": [], "refreshes": False, "is_error": is_error}
    return html("sign_in.html", {**frame, **values}, UNAUTHORIZED.status)
