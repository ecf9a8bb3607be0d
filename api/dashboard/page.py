"""A page of the dashboard as a value, and one request for it. `api.dashboard.pages` lists all pages.

A handler returns the values of its template, or a whole answer: a redirect, or a file to download. It raises the
project's errors, and `api.dashboard.endpoint` makes a page of each.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.abuse.rate_limits import RatePolicy
from api.dashboard.sessions import Session
from api.keys.auth import ApiKey
from api.server.services import Services
from ledger.scopes import Scope

DONE = "done"  # the query parameter that says what a form has just done
HTTP_STATUS = "http_status"  # among the values of a template: that of a page that refuses what was entered
_SEE_OTHER = 303


@dataclass(frozen=True, slots=True)
class PageCall:
    """One request for a page: session, limit and scope are checked, the query and the form are read.

    ``key`` is that of the session as it is now. ``session`` is None, and ``key`` is `api.keys.auth.NOBODY`, on a page
    that needs none. ``site`` are the pages of the navigation, for any key.
    """

    request: Request
    page: "Page"
    services: Services
    query: Mapping[str, str]
    form: Mapping[str, str]
    key: ApiKey
    session: Session | None
    over_https: bool
    site: tuple["Page", ...]

    @property
    def own_session(self) -> Session:
        """The session, on a page that needs one."""
        assert self.session is not None, self.page.path  # noqa: S101  # the endpoint has found it
        return self.session

    def redirect(self, path: str, done: str | None = None) -> Response:
        """Go to another page of the dashboard. ``done`` is one of the notices of that page, which then shows it."""
        return RedirectResponse(path if done is None else f"{path}?{urlencode({DONE: done})}", _SEE_OTHER)


Handler = Callable[[PageCall], Awaitable[Mapping[str, Any] | Response]]


@dataclass(frozen=True, slots=True)
class Page:
    """One method at one address of the dashboard.

    ``scope``: what the key needs, None for nothing but the session; ``needs_session`` is False for signing in alone.
    Each of ``or_scopes`` is enough in its place, for a page whose parts need different scopes.
    ``label`` is its name in the navigation, where it is for keys with its scope; "" for nowhere. ``query`` and
    ``fields`` are the parameters and the fields of the form that it takes; any other is refused by name. ``notices``
    are the texts that it shows after a form, by the value of ``?done=``. ``form_at`` is the page that has the form,
    where that is not at this address: a person whose form is refused is led there. One that ``refreshes`` is made
    again in an open window every 15 seconds; its template marks the regions.
    """

    path: str
    title: str
    handler: Handler
    template: str = ""
    method: str = "GET"
    scope: Scope | None = None
    or_scopes: frozenset[Scope] = frozenset()
    label: str = ""
    policy: RatePolicy = RatePolicy.GENERAL
    query: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    notices: Mapping[str, str] = field(default_factory=dict)
    needs_session: bool = True
    form_at: str = ""
    refreshes: bool = False

    def is_for(self, key: ApiKey) -> bool:
        """Return whether the page is for the key."""
        return self.scope is None or self.scope_for(key) in key.scopes

    def scope_for(self, key: ApiKey) -> Scope | None:
        """The scope that opens the page to the key; where it has none of them, the first one. None for none needed."""
        return next((scope for scope in (self.scope, *sorted(self.or_scopes)) if scope in key.scopes), self.scope)
