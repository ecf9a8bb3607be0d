"""A certificate of deletion in the browser: its page for people as it is, and both of its files to keep."""

import base64
import hashlib
from enum import StrEnum

from starlette.responses import Response

from api.dashboard.error_pages import HOME
from api.dashboard.page import Page, PageCall
from api.dashboard.rendering import PAGES_POLICY
from api.holds.work import in_thread, known
from api.routing import parsing
from api.server.security_headers import POLICY
from ledger.scopes import Scope
from tasks.retention.certificate_checks import find
from tasks.retention.pages import STYLE

CERTIFICATES = f"{HOME}/certificates"
_CERTIFICATE = f"{CERTIFICATES}/{{id}}"
# The page brings its own style, for it is printed and kept elsewhere; the hash allows that one style and no other.
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CERTIFICATE_POLICY = PAGES_POLICY.replace("style-src 'self'", f"style-src 'sha256-{_STYLE_HASH}'")


class CertificateForm(StrEnum):
    """The files of a certificate. The SHA-256 of the JSON is in the public log."""

    HTML = "html"
    JSON = "json"


_MEDIA_TYPES = {CertificateForm.HTML: "text/html; charset=utf-8", CertificateForm.JSON: "application/json"}


def pages() -> tuple[Page, ...]:
    """The pages of this module."""
    return (
        Page(_CERTIFICATE, "Certificate of deletion", show_certificate, scope=Scope.ARCHIVE_READ),
        Page(f"{_CERTIFICATE}/download/{{form}}", "Download", download_certificate, scope=Scope.ARCHIVE_READ),
    )


async def show_certificate(call: PageCall) -> Response:
    """The page for people, as `treasury certificate show --output` writes it. Raises what `find` does, and a 404
    problem.
    """
    _, page = await _find(call)
    return Response(page, headers={POLICY: CERTIFICATE_POLICY}, media_type=_MEDIA_TYPES[CertificateForm.HTML])


async def download_certificate(call: PageCall) -> Response:
    """One of the files. Raises as `show_certificate`."""
    form = parsing.member("form", call.request.path_params["form"], CertificateForm)
    content, page = await _find(call)
    name = f"certificate-{call.request.path_params['id']}.{form}"
    headers = {POLICY: CERTIFICATE_POLICY, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(page if form is CertificateForm.HTML else content, headers=headers, media_type=_MEDIA_TYPES[form])


async def _find(call: PageCall) -> tuple[bytes, bytes]:
    return await known(in_thread(call.services, find, call.request.path_params["id"]))
