"""The one Jinja2 environment: every value is escaped, a name that a template does not get is an error.

Templates and files are package data. All templates are compiled once, when the first page is made or served.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from api.dashboard import formats
from api.documentation.assets import Asset
from api.server.security_headers import POLICY
from ledger.errors import ConfigError
from tasks.prefect.deployments import PROJECT

FOLDER = "/dashboard/assets"
STYLE, SCRIPT, ICON = "dashboard.css", "dashboard.js", "icon.svg"
# `form-action` lets forms be sent to this API only; nothing in a page may be inline or from elsewhere.
PAGES_POLICY = (
    "default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; "
    "script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
)
MANUAL_FOLDER = PROJECT / "docs"
_HERE = Path(__file__).parent
_MEDIA_TYPES = {STYLE: "text/css", SCRIPT: "text/javascript", ICON: "image/svg+xml"}
_FILTERS = (
    formats.size,
    formats.number,
    formats.money,
    formats.cost,
    formats.percent,
    formats.milliseconds,
    formats.duration,
    formats.moment,
    formats.instant,
    formats.day,
    formats.age,
    formats.prose,
)


@cache
def assets() -> Mapping[str, Asset]:
    """The files of the pages by name. Raises ConfigError when one is missing."""
    return {name: Asset(FOLDER, name, _read(name), media_type) for name, media_type in _MEDIA_TYPES.items()}


@cache
def environment() -> Environment:
    """The environment, with every template compiled. Raises jinja2's TemplateSyntaxError for one that is not valid."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {function.__name__: function for function in _FILTERS}
    made.globals["has_manual"] = has_manual()
    made.globals["assets"] = {name.partition(".")[0]: asset.path for name, asset in _named().items()}
    for name in made.list_templates():
        made.get_template(name)
    return made


def has_manual() -> bool:
    """Return whether the documentation is here: it is not where the project was installed as a package alone."""
    return MANUAL_FOLDER.is_dir()


def html(template: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """The answer that ``template`` makes of ``values``."""
    body = environment().get_template(template).render(values)
    return HTMLResponse(body, status, headers={POLICY: PAGES_POLICY})


def _named() -> Mapping[str, Asset]:
    """The files by the names that templates use: ``assets.style``, ``assets.script``, ``assets.icon``."""
    return {"style.css": assets()[STYLE], "script.js": assets()[SCRIPT], "icon.svg": assets()[ICON]}


def _read(name: str) -> bytes:
    file = _HERE / "assets" / name
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: the dashboard needs this file: {error.strerror}. Run `make setup`.") from error
