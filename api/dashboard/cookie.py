"""The cookie of a session: `HttpOnly`, `SameSite=Strict`, for the dashboard's addresses only, and `Secure` over HTTPS.

Over plain HTTP it has another name, and its session is good for plain HTTP only: what crossed a network in the clear
never opens a session that began over HTTPS.
"""

import re

from starlette.requests import Request
from starlette.responses import Response

from api.dashboard.sessions import LONGEST_TOKEN

NAME = "treasury-session"
SECURE_NAME = f"__Secure-{NAME}"  # browsers take a cookie of such a name over HTTPS only
PATH = "/dashboard"
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{LONGEST_TOKEN}}}\Z")


def token_of(request: Request, *, over_https: bool) -> str | None:
    """The token that the request carries; None without one, and for two of them or one that no session can have."""
    name = SECURE_NAME if over_https else NAME
    pairs = (part.strip().partition("=") for header in request.headers.getlist("cookie") for part in header.split(";"))
    found = [value for given, _, value in pairs if given == name]
    return found[0] if len(found) == 1 and _TOKEN.match(found[0]) else None


def set_on(response: Response, token: str, *, over_https: bool, seconds: int) -> None:
    """Give the browser the token of a session that lasts ``seconds`` at most."""
    _set(response, token, over_https=over_https, seconds=seconds)


def take_from(response: Response, *, over_https: bool) -> None:
    """Let the browser forget the token."""
    _set(response, "", over_https=over_https, seconds=0)


def _set(response: Response, value: str, *, over_https: bool, seconds: int) -> None:
    response.set_cookie(
        SECURE_NAME if over_https else NAME,
        value,
        max_age=seconds,
        path=PATH,
        secure=over_https,
        httponly=True,
        samesite="strict",
    )
