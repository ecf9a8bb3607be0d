"""A person at the dashboard, without a browser: signs in, opens pages, sends the forms that are on them."""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx

from api.dashboard.cookie import NAME
from api.dashboard.endpoint import FORM_TOKEN

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


def cookie_name(client: httpx.Client, name: str = NAME) -> str:
    """The name of the cookie at this server."""
    return f"{name}-{client.base_url.port}"


class Form:
    """A form of a page: where it is sent, and the fields that it holds."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: dict[str, str] = {}


class Document(HTMLParser):
    """What a page is made of: its texts, links, forms, files and the names of its elements. Refuses what is not HTML
    that a browser reads as it is written: elements that are not closed, or closed in another order.
    """

    VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.links: list[str] = []
        self.files: list[str] = []
        self.forms: list[Form] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    @property
    def text(self) -> str:
        """Everything that can be read."""
        return " ".join(" ".join(self.texts).split())

    def all(self, element: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a name."""
        return [attributes for name, attributes in self.elements if name == element]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs), f"an attribute is there twice: {attrs}"
        self.elements.append((tag, given))
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in {"link", "script"}:
            self.files.append(str(given.get("href") or given.get("src")))
        if tag == "form":
            self.forms.append(Form(str(given["action"])))
        if tag == "input" and (given.get("type") not in ("checkbox", "radio") or "checked" in given):
            self.forms[-1].fields[str(given["name"])] = given.get("value") or ""
        if tag not in self.VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if (self.get_starttag_text() or "").endswith("/>") and (not self._open or self._open[-1] != tag):
            return  # the parser ends what closes itself
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in {"script", "style"}:
            self.texts.append(data)


class Person:
    """Somebody with a key. ``client`` follows no redirects, and keeps cookies as a browser does."""

    def __init__(self, url: str, key: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        self.key = key

    def sign_in(self, way: str = "/dashboard") -> httpx.Response:
        """Send the form with the key."""
        return self.client.post("/dashboard/sign-in", data={"key": self.key, "next": way}, headers=SAME_ORIGIN)

    def open(self, path: str, **options: Any) -> httpx.Response:
        """GET a page."""
        return self.client.get(path, **options)

    def read(self, path: str) -> Document:
        """Open a page that must be there, and read it."""
        answer = self.open(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return Document(answer.text)

    def send(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Send the form of a page that goes to ``action``, with ``fields`` filled in."""
        form = next(form for form in self.read(page).forms if form.action == action)
        return self.client.post(urljoin(page, form.action), data=form.fields | fields, headers=SAME_ORIGIN)

    @property
    def token(self) -> str:
        """The token in the cookie."""
        return str(self.client.cookies[self.cookie_name])

    @property
    def cookie_name(self) -> str:
        """The name of the cookie, which has the port in it."""
        return cookie_name(self.client)

    @property
    def form_token(self) -> str:
        """The token of the forms of this session."""
        return self.read("/dashboard/sessions").forms[0].fields[FORM_TOKEN]
