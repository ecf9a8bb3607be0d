"""Axe-core, run in a page of the browser: what people with a screen reader or a keyboard alone would stumble over."""

import json
from functools import cache
from importlib.resources import files

from tests.api.documentation.browser import Page

# WCAG 2.2 at level AA, and what axe-core calls best practice.
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN = """axe.run(document, {runOnly: TAGS}).then((found) => found.violations.flatMap((rule) => rule.nodes.map(
    (node) => `${location.pathname}: ${rule.id}: ${node.target.join(" ")}: ${node.failureSummary}`)))"""


@cache
def _axe() -> str:
    """Its source, from the package; Playwright, which the package is made for, is not used."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe-core finds on the page as it is now, a line each."""
    if not page.value("typeof window.axe === 'object'"):
        page.value(f"{_axe()}; true")
    found: list[str] = page.value(_RUN.replace("TAGS", json.dumps(_TAGS)))
    return found
