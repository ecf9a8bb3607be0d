"""Asking a Prefect server over its HTTP API, with its login and with patience; without Prefect's own slow import."""

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config import Settings
from ledger.errors import ConfigError, TransientError

PATIENCE_S = 180.0  # as long as the server's own start may take
ATTEMPT_S = 30.0
PAUSE_S = 0.5
PAGE = 200  # the most that the server gives at once
_FIRST_FAILURE = 500
_REFUSALS = (401, 403)
_NOT_FOUND = 404

# Nothing is sent anywhere, nothing is advertised, and the logs read as text.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLI_COLORS": "false",
}


@dataclass(frozen=True, slots=True)
class PrefectAccess:
    """The address of Prefect (``http://host:port/api``), and the ``user:password`` that it requires, if any."""

    api_url: str
    login: SecretStr | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "PrefectAccess":
        """The server of ``settings``. Raises ConfigError while it is not known.

        Without a login in them the variable counts that Prefect's own programs read.
        """
        if settings.prefect_api_url is None:
            raise ConfigError("TREASURY_PREFECT_API_URL is not set and no embedded Prefect server runs")
        shell = os.environ.get("PREFECT_API_AUTH_STRING")
        return cls(settings.prefect_api_url, settings.prefect_api_auth_string or (SecretStr(shell) if shell else None))

    def headers(self) -> dict[str, str]:
        """Return what a request carries to be let in: the login, else the key for Prefect Cloud that Prefect itself
        reads.
        """
        if self.login is None:
            key = os.environ.get("PREFECT_API_KEY")
            return {"Authorization": f"Bearer {key}"} if key else {}
        return {"Authorization": f"Basic {base64.b64encode(self.login.get_secret_value().encode()).decode()}"}

    def environment(self) -> dict[str, str]:
        """The variables that make Prefect's own programs ask this server."""
        variables = {"PREFECT_API_URL": self.api_url}
        if self.login is not None:
            variables["PREFECT_API_AUTH_STRING"] = self.login.get_secret_value()
        return variables

    def once(self, path: str, body: object = None, method: str | None = None, timeout_s: float = ATTEMPT_S) -> Any:
        """GET, or POST of ``body`` as JSON, or another ``method``: what the answer holds, None when it is empty.

        Raises urllib.error.HTTPError for an error status, OSError or ValueError when no good answer comes.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = self.headers() | {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.api_url}{path}", data, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310  # http(s) by the settings
                content = answer.read()
        except http.client.HTTPException as error:
            raise OSError(type(error).__name__) from error
        return json.loads(content) if content else None

    def ask(self, path: str, body: object = None, method: str | None = None, patience_s: float | None = None) -> Any:
        """`once`, tried again while the server is busy or away; None also where nothing is found (404).

        Raises ConfigError when it refuses the login or the request, TransientError after ``patience_s`` (default:
        `PATIENCE_S`). Requests are
        repeated: only what may be done twice is asked for.
        """
        patience_s = PATIENCE_S if patience_s is None else patience_s
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                return self.once(path, body, method)
            except urllib.error.HTTPError as error:
                if error.code == _NOT_FOUND:
                    return None
                if error.code in _REFUSALS:
                    raise ConfigError(self._refused(error.code)) from None
                if error.code < _FIRST_FAILURE:
                    raise ConfigError(f"Prefect answered {error.code} to {path}") from None
                reason = f"it answered {error.code}"
            except (OSError, ValueError) as error:
                reason = type(error).__name__
            if time.monotonic() > deadline_s:
                raise TransientError(
                    f"Prefect at {self.api_url} gave no answer to {path} in {patience_s:.0f} s: {reason}"
                )
            time.sleep(PAUSE_S)

    def every(self, path: str, body: dict[str, object]) -> Iterator[dict[str, Any]]:
        """Everything that a filter finds, page by page. What ends meanwhile may be missed or come twice."""
        offset = 0
        while page := self.ask(path, {**body, "limit": PAGE, "offset": offset}):
            yield from page
            offset += len(page)

    def _refused(self, status: int) -> str:
        if self.login is None:
            return f"Prefect at {self.api_url} asks for a login ({status}): set TREASURY_PREFECT_API_AUTH_STRING"
        return f"Prefect at {self.api_url} refuses the login ({status}) of TREASURY_PREFECT_API_AUTH_STRING"


def client_environment(home: Path, access: PrefectAccess) -> dict[str, str]:
    """The variables for a Prefect client of this project, whether worker, flow run or command."""
    return _QUIET | {"PREFECT_HOME": str(home / "prefect")} | access.environment()
