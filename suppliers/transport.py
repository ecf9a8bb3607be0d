"""One supplier's HTTP: its rate, its time limits, its circuit breaker, its token; no redirects, answers bounded.

Every failure is sorted by the one question that matters with money: was anything sent? `SupplierAwayError` and
`SupplierBusyError` say no, `UnknownOutcomeError` says perhaps. `ask` is for questions, which may be asked again; `send`
tries once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import stamina
from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from config.suppliers import Connection
from suppliers import masking
from suppliers.errors import (
    BadCredentialsError,
    SupplierAwayError,
    SupplierBusyError,
    SupplierFailingError,
    UnknownOutcomeError,
    WrongAddressError,
)
from suppliers.tokens import Token, TokenCache

_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED, _TOO_MANY = 200, 401, 403, 404, 405, 429
_FIRST_REDIRECT, _FIRST_CLIENT_ERROR, _FIRST_FAILURE = 300, 400, 500
_LONGEST_PAUSE_S: Final = 5.0  # a supplier that asks for a longer pause is reported as busy at once
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)


@dataclass(frozen=True, slots=True)
class SupplierCall:
    """One request. What may hold secrets or people's numbers does not show in its text."""

    method: str
    url: str
    json: Any = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    parameters: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float | None = None
    rate: AsyncLimiter | None = field(default=None, repr=False)  # of this address, beside the supplier's own

    @property
    def place(self) -> str:
        """Where it goes, as errors may say it."""
        return masking.masked(f"{self.method} {urlsplit(self.url).path}")


@dataclass(frozen=True, slots=True)
class SupplierAnswer:
    """The answer of a supplier, read to its end."""

    status: int
    body: bytes = field(repr=False)
    media_type: str
    headers: Mapping[str, str] = field(repr=False)

    @property
    def is_json(self) -> bool:
        """Whether it says of itself that it is JSON. A gateway's error page does not."""
        return self.media_type == "application/json" or self.media_type.endswith("+json")

    @property
    def is_ok(self) -> bool:
        """Whether it is a success that can be decoded."""
        return _OK <= self.status < _FIRST_REDIRECT and self.is_json


_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")  # decimal rand go out as the very digits
Authorize = Callable[[str], Mapping[str, str]]


class _FailingError(Exception):
    """A 5xx answer on its way past the circuit breaker, which counts exceptions."""

    def __init__(self, answer: SupplierAnswer) -> None:
        super().__init__()
        self.answer = answer


class Transport:
    """The HTTP client of one supplier in one event loop."""

    def __init__(self, name: str, settings: Connection, urls: tuple[str, ...]) -> None:
        masking.install()
        self._name = name
        self._settings = settings
        self._limiter = AsyncLimiter(max(1.0, settings.calls_per_s), max(1.0, 1 / settings.calls_per_s))
        self._breakers = AsyncCircuitBreakerFactory(
            default_threshold=settings.breaker_failures,
            default_ttl=settings.breaker_pause_s,
            exclude=[asyncio.CancelledError],  # the caller left; that says nothing about the supplier
        )
        local = all(urlsplit(url).hostname in _LOOPBACK for url in urls)
        self._client = httpx.AsyncClient(
            timeout=settings.call_timeout_s,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=settings.connections, max_keepalive_connections=settings.connections),
            trust_env=not local,  # a proxy has no business between this machine and itself
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def send(self, call: SupplierCall) -> SupplierAnswer:
        """One try. The answer is neither 429 nor a wrong page.

        Raises SupplierAwayError and SupplierBusyError when nothing was done, UnknownOutcomeError when nobody can say,
        WrongAddressError when no API answers there.
        """
        if call.rate is not None:  # every try waits for its turn, also one that repeats another
            await call.rate.acquire()
        async with self._limiter:
            answer = await self._guarded(call)
        if answer.status == _TOO_MANY:
            raise SupplierBusyError(f"{self._name} asks to wait: {call.place}", _retry_after_s(answer))
        if answer.status in (_NOT_FOUND, _NOT_ALLOWED) and not answer.is_json:
            raise WrongAddressError(f"{self._name}: no API answers {call.place}; look at its address in the settings")
        if _FIRST_REDIRECT <= answer.status < _FIRST_CLIENT_ERROR and answer.status != httpx.codes.NOT_MODIFIED:
            raise UnknownOutcomeError(
                f"{self._name} sends {call.place} elsewhere ({answer.status}); it is not followed"
            )
        return answer

    async def ask(self, call: SupplierCall) -> SupplierAnswer:
        """Put a question, which is safe to repeat, up to the number of tries that is set.

        Raises SupplierAwayError, SupplierBusyError, SupplierFailingError, WrongAddressError.
        """
        return await self._repeated(lambda: self._question(self.send(call), call))

    async def ask_authorized(self, call: SupplierCall, tokens: TokenCache, authorize: Authorize) -> SupplierAnswer:
        """`ask` with a token. Raises BadCredentialsError too."""
        return await self._repeated(lambda: self._question(self.send_authorized(call, tokens, authorize), call))

    async def send_authorized(self, call: SupplierCall, tokens: TokenCache, authorize: Authorize) -> SupplierAnswer:
        """`send` with a token; one that is refused is replaced once. Raises BadCredentialsError too.

        A token that cannot be had means that nothing was sent.
        """
        token = await tokens.get()
        answer = await self.send(_with_headers(call, authorize(token)))
        if answer.status in (_UNAUTHORIZED, _FORBIDDEN):
            token = await tokens.replace(token)
            answer = await self.send(_with_headers(call, authorize(token)))
        if answer.status in (_UNAUTHORIZED, _FORBIDDEN):
            raise BadCredentialsError(f"{self._name} does not accept the token of this account ({answer.status})")
        return answer

    async def fetch_token(self, call: SupplierCall, decode: Callable[[bytes], Token]) -> Token:
        """Ask for a token. Raises BadCredentialsError when it is refused, else as `ask`."""
        answer = await self.ask(call)
        if not answer.is_ok:
            raise BadCredentialsError(f"{self._name} gives no token for these credentials ({answer.status})")
        return decode(answer.body)

    def retries(self, on: Callable[[Exception], bool | float]) -> Any:
        """The tries of what is safe to repeat: pauses that grow, with jitter. To be used as stamina's own."""
        settings = self._settings
        return stamina.retry_context(
            on=on,
            attempts=settings.attempts,
            timeout=None,  # the caller has a time limit over everything
            wait_initial=settings.retry_wait_s,
            wait_max=max(settings.retry_wait_s, _LONGEST_PAUSE_S),
            wait_jitter=settings.retry_wait_s,
        )

    async def _repeated(self, question: Callable[[], Awaitable[SupplierAnswer]]) -> SupplierAnswer:
        async for attempt in self.retries(may_be_asked_again):
            with attempt:
                return await question()
        raise AssertionError("stamina gives a last try that raises")

    async def _question(self, sending: Awaitable[SupplierAnswer], call: SupplierCall) -> SupplierAnswer:
        """A question's failure of any kind is transient: it can be asked again."""
        try:
            answer = await sending
        except UnknownOutcomeError as error:
            raise SupplierFailingError(str(error)) from error
        if answer.status >= _FIRST_FAILURE or (answer.status < _FIRST_REDIRECT and not answer.is_json):
            raise SupplierFailingError(f"{self._name} answers {call.place} with {answer.status} {answer.media_type}")
        return answer

    async def _guarded(self, call: SupplierCall) -> SupplierAnswer:
        breaker = await self._breakers.get_breaker(self._name)
        try:
            async with breaker:
                return _not_failing(await self._exchange(call))
        except _FailingError as failing:
            return failing.answer
        except OpenedState:
            raise SupplierAwayError(
                f"{self._name} failed {self._settings.breaker_failures} times in a row: a pause"
            ) from None

    async def _exchange(self, call: SupplierCall) -> SupplierAnswer:
        try:
            async with self._client.stream(
                call.method,
                call.url,
                content=None if call.json is None else _ENCODER.encode(call.json),
                data=call.form,
                params=call.parameters,
                headers=_headers(call),
                timeout=call.timeout_s or self._settings.call_timeout_s,
            ) as response:
                return SupplierAnswer(
                    response.status_code, await self._body(response), _media_type(response), dict(response.headers)
                )
        except _NOT_SENT as error:
            # The library's own words may hold the whole address.
            raise SupplierAwayError(f"{self._name} cannot be reached: {type(error).__name__}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnknownOutcomeError(f"{self._name}: no answer to {call.place}: {type(error).__name__}") from None

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._settings.answer_limit_bytes:
                raise UnknownOutcomeError(
                    f"{self._name}: the answer is more than {self._settings.answer_limit_bytes} bytes"
                )
        return bytes(body)


def may_be_asked_again(error: Exception) -> bool | float:
    """Return whether a question is worth another try, and after how many seconds when the supplier has said so."""
    if isinstance(error, SupplierBusyError) and error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= _LONGEST_PAUSE_S else False
    return isinstance(error, SupplierBusyError | SupplierAwayError | SupplierFailingError)


def _not_failing(answer: SupplierAnswer) -> SupplierAnswer:
    if answer.status >= _FIRST_FAILURE:
        raise _FailingError(answer)
    return answer


def _with_headers(call: SupplierCall, headers: Mapping[str, str]) -> SupplierCall:
    return replace(call, headers={**call.headers, **headers})


def bearer(token: str) -> Mapping[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def _headers(call: SupplierCall) -> dict[str, str]:
    content = {} if call.json is None else {"Content-Type": "application/json"}
    return {"Accept": "application/json", **content, **call.headers}


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _retry_after_s(answer: SupplierAnswer) -> float | None:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 7 else None
