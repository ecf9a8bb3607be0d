"""The OpenAPI document as a page: plain HTML and one style sheet of our own. It works offline and needs no script."""

from html import escape
from typing import Any

import msgspec

STYLE_PATH = "/docs/style.css"

STYLE = """\
:root { color-scheme: light dark; --line: #8884; --dim: #888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: 6px; }
details { margin: .5rem 0; padding: .5rem .75rem; border: 1px solid var(--line); border-radius: 6px; }
summary { cursor: pointer; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid var(--line); }
.method { display: inline-block; min-width: 3.5rem; font-weight: 700; }
.dim { color: var(--dim); }
"""


def render(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><link rel="stylesheet" href="{STYLE_PATH}"></head><body>'
        f"<h1>{title}</h1><p>Keys go into <code>Authorization: Bearer trk_…</code>. Machines read "
        '<a href="/openapi.json">openapi.json</a>.</p>'
        f"{_sections(document['paths'])}{_schemas(document['components']['schemas'])}</body></html>"
    )


def _sections(paths: dict[str, Any]) -> str:
    by_tag: dict[str, list[str]] = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    return "".join(f"<h2>{escape(tag)}</h2>{''.join(operations)}" for tag, operations in by_tag.items())


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"<p>{_prose(operation['description'])}</p>" if "description" in operation else ""]
    if "x-scope" in operation:
        parts.append(f"<p>Scope <code>{escape(operation['x-scope'])}</code></p>")
    parts.append(_parameters(operation["parameters"]))
    if "requestBody" in operation:
        parts.append(f"<p>Body: {_link(operation['requestBody']['content']['application/json']['schema'])}</p>")
    parts.append(_responses(operation["responses"]))
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><span class="method">{method.upper()}</span> '
        f'<code>{escape(path)}</code> <span class="dim">{escape(operation["summary"])}</span></summary>'
        f"{''.join(parts)}</details>"
    )


def _parameters(parameters: list[dict[str, Any]]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(item['name'])}</code></td><td>{item['in']}{' *' if item['required'] else ''}</td>"
        f"<td>{_prose(item['description'])}</td></tr>"
        for item in parameters
    )
    return f"<table><tr><th>Parameter</th><th>In</th><th></th></tr>{rows}</table>"


def _responses(responses: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{_prose(item['description'])}</td><td>{_bodies(item.get('content', {}))}</td></tr>"
        for status, item in responses.items()
    )
    return f"<table><tr><th>Status</th><th></th><th>Body</th></tr>{rows}</table>"


def _bodies(content: dict[str, Any]) -> str:
    return " or ".join(f"{media_type} {_link(described['schema'])}" for media_type, described in content.items())


def _schemas(schemas: dict[str, Any]) -> str:
    shown = "".join(
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{escape(msgspec.json.format(msgspec.json.encode(schema)).decode())}</pre></details>"
        for name, schema in schemas.items()
    )
    return f"<h2>schemas</h2>{shown}"


def _link(schema: dict[str, Any]) -> str:
    if "$ref" not in schema:  # a body that is plain text
        return escape(schema["type"])
    name = escape(schema["$ref"].rsplit("/", 1)[-1])
    return f'<a href="#schema-{name}">{name}</a>'


def _prose(text: str) -> str:
    """Text in which `backticks` mark code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
