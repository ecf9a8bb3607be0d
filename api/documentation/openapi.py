"""The OpenAPI 3.1 document, made from the operations and from msgspec's JSON Schema of their types."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, get_args

import msgspec
from msgspec import structs

from api.routing.operations import Operation, Parameter
from api.routing.problems import MEDIA_TYPE
from api.transactions.messages import Problem
from ledger.transactions import SUPPLIERS, Supplier

_REF = "#/components/schemas/{name}"
_UUID = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
}
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_WHOLE_PATH = re.compile(r":path\}")  # Starlette's mark for a parameter that may contain slashes
_LATER = frozenset({429, 503})
# The protocol and `api.server.admission` can refuse before any operation.
_BEFORE = frozenset({400, 405, 408, 414, 417, 421, 431})
_WITHOUT_A_KEY = _BEFORE | {422, 429, 500}
_WITH_A_KEY = _WITHOUT_A_KEY | {401, 403, 503}
_REASONS = {
    200: "Success",
    201: "Stored",
    400: "The request is not valid HTTP or JSON, or a required Idempotency-Key is missing",
    401: "The API key, or the signature of a webhook, is missing or invalid",
    403: "The key lacks a scope",
    404: "The resource does not exist, or the key may not see it",
    410: "The month of the resource was deleted at the end of its retention",
    405: "The address does not support this method; see Allow",
    408: "The request did not arrive in time",
    409: "The request conflicts with the current state",
    413: "The body is too large",
    414: "The URL is too long",
    415: "The body is not declared as JSON, or is compressed",
    417: "The API supports only the expectation 100-continue",
    421: "The API does not serve this host",
    422: "A value is invalid; `errors` names the field",
    429: "Too many requests; see Retry-After",
    431: "The header is too large",
    500: "The server failed",
    503: "The service is temporarily unavailable; see Retry-After",
}
_REPLAYED = {
    "Idempotent-Replayed": {
        "description": "`true` when the answer repeats that of an earlier request",
        "schema": {"type": "string"},
    }
}
_LOCATION = {"Location": {"description": "The address of the new row", "schema": {"type": "string"}}}
_RATE_LIMIT = {
    "RateLimit-Policy": {
        "description": 'The limit: `"name";q=requests;w=seconds`. Absent while limits are off',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What remains of the limit: `"name";r=requests;t=seconds until the next window`',
        "schema": {"type": "string"},
    },
}
_INTRODUCTION = (
    "Every request needs an API key as a bearer token, except the health checks and signed notifications. "
    "On the page `/docs`, choose Authorize and enter the key. The page forgets it when it is closed or reloaded. "
    "Requests sent from the page reach this installation and have their full effect."
)
_ETAG = {"ETag": {"description": "The validator of this answer", "schema": {"type": "string"}}}
_IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "The ETag of an earlier answer. While the answer is the same, the API sends 304 without a body.",
    {"type": "string"},
    place="header",
)
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}}


def make_document(
    title: str, version: str, operations: Sequence[Operation], suppliers: Sequence[str] = SUPPLIERS
) -> dict[str, Any]:
    """The whole document; the same operations and ``suppliers`` always give the same one."""
    schema_of, shared = _schemas(_types(operations))
    components = dict(shared)
    if Supplier.__name__ in components:  # which ones there are is a setting
        components[Supplier.__name__] = {**components[Supplier.__name__], "enum": list(suppliers)}
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(_WHOLE_PATH.sub("}", operation.path), {})[operation.method.lower()] = _operation(
            operation, schema_of
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": _INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: `trk_...`"}},
        },
    }


@cache
def _schemas(types: tuple[type, ...]) -> tuple[dict[type, Any], dict[str, Any]]:
    """The schema of each type, and those that they refer to. Worked out once a process: a document only reads them."""
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    for message in _messages(types):
        for field in structs.fields(message):
            _say_date_time(components[message.__name__]["properties"][field.encode_name], field.type)
    return dict(zip(types, schemas, strict=True)), components


def _messages(types: tuple[type, ...]) -> set[type[msgspec.Struct]]:
    """Every struct that the types are made of."""
    messages: set[type[msgspec.Struct]] = set()
    open_types: list[Any] = list(types)
    while open_types:
        kind = open_types.pop()
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            open_types += get_args(kind)
        elif kind not in messages:
            messages.add(kind)
            open_types += [field.type for field in structs.fields(kind)]
    return messages


def _say_date_time(schema: dict[str, Any], kind: Any) -> None:
    """Instants are RFC 3339 in UTC. msgspec describes those without a further rule as a plain string."""
    if kind is datetime:
        schema["format"] = "date-time"
    for argument, part in zip(get_args(kind), schema.get("anyOf", [schema]), strict=False):
        _say_date_time(part, argument)


def _types(operations: Sequence[Operation]) -> tuple[type, ...]:
    types: list[type] = [Problem]
    for operation in operations:
        types += [kind for kind in (operation.request, *operation.answers.values()) if kind is not None]
    return tuple(dict.fromkeys(types))


def _operation(operation: Operation, schema_of: dict[type, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation),
        "responses": _responses(operation, schema_of),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.scope is not None:
        described["security"] = [{"apiKey": []}]
        described["x-scope"] = operation.scope.value
    if operation.request is not None:
        content: dict[str, Any] = {"schema": schema_of[operation.request]}
        if operation.example is not None:
            content["example"] = dict(operation.example)
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    described = {parameter.name for parameter in operation.parameters}
    in_path = [
        Parameter(name, "A UUID", _UUID, place="path", required=True)
        for name in _PATH_PARAMETER.findall(operation.path)
        if name not in described
    ]
    return [
        {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required,
            "description": parameter.description,
            "schema": dict(parameter.schema),
        }
        for parameter in (*in_path, *operation.parameters, *((_IF_NONE_MATCH,) if operation.conditional else ()))
    ]


def _responses(operation: Operation, schema_of: dict[type, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in operation.answers.items():
        schema = {} if kind is bytes else schema_of[kind]  # the schema of bytes is that of Base64 in JSON
        responses[str(status)] = _response(status, operation.media_type, schema) | _headers(operation, status)
    if operation.conditional:
        responses["304"] = {"description": "The answer has not changed since this ETag", "headers": _RATE_LIMIT | _ETAG}
    for status in sorted(operation.problems | (_WITHOUT_A_KEY if operation.scope is None else _WITH_A_KEY)):
        response = _response(status, MEDIA_TYPE, schema_of[Problem])
        responses[str(status)] = response | _problem_headers(status)
    return responses


def _response(status: int, media_type: str, schema: Any) -> dict[str, Any]:
    return {"description": _REASONS[status], "content": {media_type: {"schema": schema}}}


def _problem_headers(status: int) -> dict[str, Any]:
    if status == 401:  # the limit that would count it is not known yet
        return {}
    return {"headers": _RATE_LIMIT | _RETRY_AFTER if status in _LATER else _RATE_LIMIT}


def _headers(operation: Operation, status: int) -> dict[str, Any]:
    headers: dict[str, Any] = dict(_RATE_LIMIT)
    if any(parameter.name == "Idempotency-Key" for parameter in operation.parameters):
        headers |= _REPLAYED
    if status == 201:
        headers |= _LOCATION
    if operation.conditional:
        headers |= _ETAG
    return {"headers": headers}
