"""The cookie of a session: `HttpOnly`, `SameSite=Strict`, for the dashboard's addresses only, and `Secure` over HTTPS.

Over plain HTTP it has another name, and its session is valid for plain HTTP only. A token that crossed a network in the
clear never opens a session that began over HTTPS. A browser sends its cookies to every port of a host, so the port is
part of the name. Two installations on one host therefore do not end each other's sessions.
"""

import re

from starlette.requests import Request
from starlette.responses import Response

from api.dashboard.sessions import LONGEST_TOKEN

NAME = "treasury-session"
SECURE_NAME = f"__Secure-{NAME}"  # browsers take a cookie of such a name over HTTPS only
PATH = "/dashboard"
_PORT = re.compile(r":(\d{1,5})\Z")
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{LONGEST_TOKEN}}}\Z")


def token_of(request: Request, *, over_https: bool) -> str | None:
    """The token that the request carries; None without one, and for two of them or one that no session can have."""
    name = _name(request, over_https=over_https)
    pairs = (part.strip().partition("=") for header in request.headers.getlist("cookie") for part in header.split(";"))
    tokens = [value for cookie, _, value in pairs if cookie == name]
    return tokens[0] if len(tokens) == 1 and _TOKEN.match(tokens[0]) else None


def set_on(response: Response, request: Request, token: str, *, over_https: bool, seconds: int) -> None:
    """Give the browser the token of a session that lasts ``seconds`` at most."""
    response.set_cookie(
        _name(request, over_https=over_https),
        token,
        max_age=seconds,
        path=PATH,
        secure=over_https,
        httponly=True,
        samesite="strict",
    )


def take_from(response: Response, request: Request, *, over_https: bool) -> None:
    """Let the browser forget the token."""
    set_on(response, request, "", over_https=over_https, seconds=0)


def _name(request: Request, *, over_https: bool) -> str:
    port = _PORT.search(request.headers.get("host", ""))
    return (SECURE_NAME if over_https else NAME) + (f"-{port[1]}" if port else "")
