"""The runbook: a section of `docs/runbooks.md` for each rule that raises alerts, and for each flow that can fail."""

from config import Settings

PAGE = "docs/runbooks.md"


def runbook(settings: Settings, name: str) -> str:
    """The place of the section of ``name``: a URL where `TREASURY_RUNBOOKS_URL` is set, or a path in the project."""
    return f"{settings.runbooks_url or PAGE}#{name.lower()}"
