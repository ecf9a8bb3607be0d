"""One operation as an ASGI application: checks that every operation has, then its handler; every error is answered."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from api.abuse.visitor import visitor_of
from api.keys.auth import NOBODY
from api.logs.access_log import of_request
from api.logs.error_description import describe
from api.logs.json_lines import LOGGER
from api.monitoring import metrics
from api.routing import parsing, problems
from api.routing.operations import Call, Operation
from api.routing.problems import NO_METHOD, NOT_FOUND, HttpError, ProblemKind
from api.server.services import Services
from ledger.errors import FieldError, TreasuryError

_LOG = logging.getLogger(LOGGER)
RefuseMethod = Callable[[Scope, Receive, Send, str], Awaitable[None]]


class Endpoint:
    """A bare route: Starlette hands over the connection itself, nothing is parsed or validated twice."""

    def __init__(self, operation: Operation, services: Services) -> None:
        self._operation = operation
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return  # the client has gone
        except TreasuryError as error:
            response = self._refuse(request, error)
        except Exception as error:  # noqa: BLE001  # the last line: no error leaves without an answer and a log line
            response = self._refuse(request, error)
        finally:
            self._services.bodies.give_back(scope)
        response.raw_headers.extend(visitor_of(scope).headers)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        operation, services = self._operation, self._services
        record = of_request(request.scope)
        record.route = operation.path
        key, visitor = NOBODY, visitor_of(request.scope)
        needed = None if operation.open_to and operation.open_to.hold(visitor.sender.address) else operation.scope
        if needed is not None:
            key = await services.key_throttle.authenticate(request.headers.get("authorization"), visitor.sender)
            record.key_id = key.key_id
        if operation.policy is not None:
            verdict = await services.defence.limiter.spend(
                operation.policy, key.key_id or visitor.sender.address, key.limits
            )
            if verdict is not None:
                verdict.require()
                visitor.headers = verdict.headers()
        if needed is not None:
            key.require(needed)
        query = parsing.query(request, operation.query)
        return await operation.handler(Call(request, operation, services, query, key))

    def _refuse(self, request: Request, error: Exception) -> Response:
        note_refusal(self._services, request, error)
        return problems.response(error, of_request(request.scope).request_id)


def note_refusal(services: Services, request: Request, error: Exception) -> None:
    """Count and log what a request ended in: the watch, the metrics and the log get what each of them looks at."""
    if isinstance(error, FieldError):
        services.defence.watch.refused_field(error.field, visitor_of(request.scope).sender)
    kind = problems.kind_of(error)
    if kind in (problems.UNAUTHORIZED, problems.UNSIGNED, problems.FORBIDDEN):
        metrics.auth_failed(kind.name)
    if kind.status >= problems.INTERNAL.status:
        request_id = of_request(request.scope).request_id
        _LOG.error("request failed", extra={"fields": {"request_id": request_id, **describe(error)}})


class Address:
    """The operations that share a path, by method. HEAD is a GET whose body the server leaves out.

    ``refuse`` answers the other methods; it is given those that the address takes.
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp], refuse: "RefuseMethod | None" = None) -> None:
        self._endpoints = endpoints
        self._allow = ", ".join((*endpoints, "HEAD") if "GET" in endpoints else endpoints)
        self._refuse = refuse or refuse_method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        endpoint = self._endpoints.get(method)
        if endpoint is None:
            await self._refuse(scope, receive, send, self._allow)
        else:
            await endpoint(scope, receive, send)


class StaticPage:
    """A document that is the same for everyone, made once."""

    def __init__(self, body: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self._response = Response(body, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in {"GET", "HEAD"}:
            await self._response(scope, receive, send)
        else:
            await refuse_method(scope, receive, send, "GET, HEAD")


async def no_such_address(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that fits none of the router's paths."""
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
    else:
        await _refuse(NOT_FOUND, scope, receive, send)


async def refuse_method(scope: Scope, receive: Receive, send: Send, allow: str) -> None:
    """Answer 405. ``allow`` lists the methods that the address takes."""
    await _refuse(NO_METHOD, scope, receive, send, {"Allow": allow})


async def _refuse(
    kind: ProblemKind, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str] | None = None
) -> None:
    refusal = problems.response(HttpError(kind, headers=headers), of_request(scope).request_id)
    await refusal(scope, receive, send)
