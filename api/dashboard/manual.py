"""The documentation as pages of the dashboard: the runbooks that alerts lead to, and everything that those lead to.

Made from the Markdown of `docs/`, which is there where the project runs from its own folder. Pages of that folder link
to each other here; what lies elsewhere is named and not linked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from posixpath import normpath
from typing import Any

import anyio
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markupsafe import Markup

from api.dashboard.error_pages import HOME
from api.dashboard.page import Page, PageCall
from api.dashboard.rendering import MANUAL_FOLDER, has_manual
from api.routing.problems import NOT_FOUND, HttpError

MANUAL = f"{HOME}/docs"
_NAME = re.compile(r"(?:decisions/)?[A-Za-z0-9-]{1,80}\Z", re.ASCII)
_FILE = re.compile(r"(?P<name>[^#]*)\.md(?P<anchor>#.*)?\Z")


def pages() -> tuple[Page, ...]:
    """The pages of this module."""
    return (Page(f"{MANUAL}/{{name:path}}", "Documentation", show_document, "manual.html"),)


async def show_document(call: PageCall) -> Mapping[str, Any]:
    """A page of the documentation. Raises a 404 problem for one that is not there."""
    name = call.request.path_params["name"]
    document = await anyio.to_thread.run_sync(read_document, name) if _NAME.match(name) else None
    if document is None:
        raise HttpError(NOT_FOUND, "The documentation of this installation has no such page.")
    return {"title": document.title, "sections": document.sections, "text": document.text}


def address_of(place: str) -> str:
    """The address of a section here: of `docs/runbooks.md#health_redis` the page of the runbooks. Any other place, such
    as a URL, as it is; so is every place where the folder is not there.
    """
    match = _FILE.fullmatch(place.removeprefix("docs/"))
    if not place.startswith("docs/") or match is None or not has_manual():
        return place
    return f"{MANUAL}/{match['name']}{match['anchor'] or ''}"


@dataclass(frozen=True, slots=True)
class Document:
    """A page: its title, the ids and names of its sections, and its text as HTML."""

    title: str
    sections: tuple[tuple[str, str], ...]
    text: Markup


@cache
def read_document(name: str) -> Document | None:
    """The page of `docs/<name>.md`; None where there is none. Read once."""
    try:
        source = (MANUAL_FOLDER / f"{name}.md").read_text(encoding="utf-8")
    except OSError:
        return None
    reader = _reader()
    tokens = reader.parse(source)
    _identify(tokens)
    title = "Documentation"
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        title, tokens = _plain(tokens[1]), tokens[3:]
    sections = tuple(
        (str(token.attrGet("id")), _plain(tokens[place + 1]))
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2"
    )
    _turn_links(tokens, name)
    text = reader.renderer.render(_framed(tokens), reader.options, {})
    return Document(title, sections, Markup(text))  # noqa: S704  # of our own files, and without HTML in them


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("fence", _block)
    reader.add_render_rule("code_block", _block)
    reader.add_render_rule("image", _picture)
    return reader


def _block(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    """A block of code, which a keyboard can scroll."""
    return f'<pre tabindex="0"><code>{escapeHtml(tokens[place].content)}</code></pre>\n'


def _picture(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    """The words of a picture: its file is not served."""
    return f"<em>{escapeHtml(tokens[place].content)}</em>"


def _identify(tokens: Sequence[Token]) -> None:
    """Give every heading the id that links to it use, that of GitHub, and say of the heads of tables what they head."""
    taken: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token.type == "th_open":
            token.attrSet("scope", "col")
        if token.type == "heading_open":
            name = re.sub(r"[^\w\- ]", "", _plain(tokens[place + 1]).lower()).replace(" ", "-")
            taken[name] = taken.get(name, -1) + 1
            token.attrSet("id", f"{name}-{taken[name]}" if taken[name] else name)


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))


def _turn_links(tokens: Sequence[Token], name: str) -> None:
    """Let links to files of the folder lead to their pages, and take away those to other files."""
    folder = name.rpartition("/")[0]
    for token in tokens:
        kept, open_links = list[Token](), list[bool]()
        for child in token.children or ():
            if child.type == "link_open":
                href = _turned(str(child.attrGet("href")), folder)
                child.attrSet("href", href or "")
                open_links.append(href is not None)
            if child.type not in ("link_open", "link_close") or open_links[-1]:
                kept.append(child)
            if child.type == "link_close":
                open_links.pop()
        if token.children is not None:
            token.children = kept


def _turned(href: str, folder: str) -> str | None:
    if href.startswith(("https://", "#")):
        return href
    match = _FILE.fullmatch(href)
    path = normpath(f"./{folder}/{match['name']}") if match else ""
    is_there = _NAME.match(path) and (MANUAL_FOLDER / f"{path}.md").is_file()
    return f"{MANUAL}/{path}{match['anchor'] or ''}" if match and is_there else None


def _framed(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with a frame around each table that a keyboard can scroll, and a caption in it."""
    made, number = list[Token](), 0
    for token in tokens:
        if token.type == "table_open":
            number += 1
            made.append(_html(f'<div class="scroll" tabindex="0" role="region" aria-label="Table {number}">'))
        made.append(token)
        if token.type == "table_open":
            made.append(_html(f'<caption class="unseen">Table {number}</caption>'))
        elif token.type == "table_close":
            made.append(_html("</div>"))
    return made


def _html(text: str) -> Token:
    return Token("html_block", "", 0, content=f"{text}\n")
