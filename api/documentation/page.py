"""The page `/docs`: Swagger UI over the OpenAPI document. The API serves every file of it, so it works offline.

Swagger UI comes from the package `fastapi-swagger`, of which only the files are used: decision 0030. Importing the
package would import FastAPI. Only the files named here have addresses; no folder is served.
"""

from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from api.documentation.assets import Asset
from ledger.errors import ConfigError

PATH = "/docs"
DOCUMENT_PATH = "/openapi.json"
PACKAGE = "fastapi_swagger"
STYLE, BUNDLE, START, ICON = "swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"
_MEDIA_TYPES = {STYLE: "text/css", BUNDLE: "text/javascript", START: "text/javascript", ICON: "image/png"}
_OWN = {START: Path(__file__).with_suffix(".js")}


@cache
def assets() -> dict[str, Asset]:
    """Return the files of the page by name. Reads and compresses them once per process.

    Raises ConfigError when the package that brings Swagger UI, or a file of it, is missing.
    """
    return {name: Asset(PATH, name, _read(name), media_type) for name, media_type in _MEDIA_TYPES.items()}


def render(title: str) -> str:
    """Return the page. It holds no script and no style of its own, so that its policy can refuse both."""
    files = {name: asset.path for name, asset in assets().items()}
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" type="image/png" href="{files[ICON]}">
<link rel="stylesheet" href="{files[STYLE]}">
</head>
<body>
<noscript><p>This page needs JavaScript. <a href="{DOCUMENT_PATH}">openapi.json</a> holds the same text.</p></noscript>
<div id="operations" data-document="{DOCUMENT_PATH}"></div>
<script src="{files[BUNDLE]}"></script>
<script src="{files[START]}"></script>
</body>
</html>
"""


def _read(name: str) -> bytes:
    file = _OWN.get(name) or _swagger_ui() / name
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: the page {PATH} needs this file: {error.strerror}. Run `make setup`.") from error


def _swagger_ui() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the package {PACKAGE} is missing: it brings Swagger UI for {PATH}. Run `make setup`.")
    return Path(spec.origin).parent / "resources"
