"""A real browser, Chromium without a window, driven over its DevTools protocol as a person would drive it.

Pointer and keyboard input go through the browser's own input queue. Everything that the browser complains about is
collected: errors on the console, exceptions, refusals by a Content-Security-Policy, and every address it asks for.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

CHOSEN = "TREASURY_TEST_BROWSER"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_GIVE_UP_S = 120
_FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--window-size=1280,1600",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def executable() -> str:
    """The browser to use. Skips the test where there is none, but fails in CI and where one was named."""
    chosen = os.environ.get(CHOSEN)
    found = next(filter(None, map(shutil.which, (chosen,) if chosen else _NAMES)), None)
    if found is not None:
        return found
    reason = f"no Chromium was found: install the package chromium, or name a browser in {CHOSEN}"
    if chosen or os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Page:
    """One tab. What the browser reports is kept in `problems`, and the addresses it asked for in `requested`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._sent = 0
        self._loaded = 0
        self.problems: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result. Events that arrive before it are taken in."""
        self._sent += 1
        self._connection.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=_GIVE_UP_S))
            if message.get("id") == self._sent:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])
            self._take_in(message.get("method", ""), message.get("params", {}))

    def _take_in(self, name: str, event: dict[str, Any]) -> None:
        if name == "Network.requestWillBeSent":
            self.requested.append(event["request"]["url"])
        elif name == "Page.loadEventFired":
            self._loaded += 1
        elif name == "Runtime.exceptionThrown":
            self.problems.append(f"exception: {event['exceptionDetails']}")
        elif name == "Runtime.consoleAPICalled" and event["type"] in {"error", "assert"}:
            self.problems.append(f"console: {event['args']}")
        elif name == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.problems.append(f"log: {event['entry']['text']} {event['entry'].get('url', '')}")
        elif name == "Audits.issueAdded" and event["issue"]["code"] == "ContentSecurityPolicyIssue":
            self.problems.append(
                f"Content Security Policy: {event['issue']['details']['contentSecurityPolicyIssueDetails']}"
            )

    def open(self, address: str) -> None:
        """Go to an address and wait until it has loaded."""
        before = self._loaded
        self.call("Page.navigate", url=address)
        self._until(lambda: self._loaded > before or None, f"{address} to load")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            allowUnsafeEvalBlockedByCSP=False,  # the policy holds for the tests, too
        )
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """The value of a JavaScript expression once it is true."""
        return self._until(lambda: self.value(expression), expression)

    def wait_for_problem(self) -> str:
        """The first thing that the browser complains about, once it does."""
        return str(self._until(lambda: self.problems, "the browser to complain")[0])

    def text(self, selector: str) -> str:
        """The text of an element, once it is there."""
        return str(self.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText"))

    def click(self, selector: str) -> None:
        """Click into the middle of an element, once it is there and at rest."""
        x, y = self._middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Click into a field and replace its text."""
        self.click(selector)
        self.wait_for(f"document.activeElement === document.querySelector({json.dumps(selector)})")
        self.value("document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def picture(self, file: Path) -> None:
        """Save what the page shows."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _middle(self, selector: str) -> tuple[float, float]:
        found = json.dumps(selector)
        where = f"""(() => {{
            const element = document.querySelector({found});
            if (!element || element.disabled) return null;
            element.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = element.getBoundingClientRect();
            const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
            const top = document.elementFromPoint(x, y);
            return box.width && top && (element.contains(top) || top.contains(element)) ? [x, y] : null;
        }})()"""
        before = None
        while (now := self.wait_for(where)) != before:
            before = now
        return now[0], now[1]

    def _until(self, look: Any, wanted: str) -> Any:
        ends_s = time.monotonic() + _GIVE_UP_S
        while not (value := look()):
            assert time.monotonic() < ends_s, f"waited in vain for {wanted}; problems: {self.problems}"
            with suppress(TimeoutError):
                message = json.loads(self._connection.recv(timeout=0.05))
                self._take_in(message.get("method", ""), message.get("params", {}))
        return value


@contextmanager
def open_page(folder: Path) -> Iterator[Page]:
    """A tab of a fresh browser that keeps its files in ``folder``."""
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # Chromium refuses its sandbox to root
    command = [executable(), *_FLAGS, *root, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"HOME": str(folder)})
        try:
            address = _debugger(process, folder)
            with closing(connect(address, max_size=None)) as connection:
                yield Page(connection)
        finally:
            process.terminate()
            process.wait()


def _debugger(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    """The address of the first tab's DevTools, once the browser has written down its port."""
    file = folder / "profile" / "DevToolsActivePort"
    ends_s = time.monotonic() + _GIVE_UP_S
    while not (file.exists() and file.read_text().count("\n")):
        assert process.poll() is None, (folder / "browser.log").read_text(errors="replace")
        assert time.monotonic() < ends_s, "the browser opened no port for its DevTools"
        time.sleep(0.05)
    port = file.read_text().split()[0]
    targets = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=_GIVE_UP_S).json()
    return str(next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"))
