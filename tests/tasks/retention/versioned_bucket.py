"""A bucket with versions and Object Lock: SeaweedFS, where the machine has its program `weed`."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

WEED = os.environ.get("TREASURY_TEST_WEED") or shutil.which("weed")
KEY, SECRET = "tests", "tests-secret"
_GRPC = 10_000  # each of its ports has a second one, so far above
_PATIENCE_S = 180


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """The address of a running server."""
    folder.mkdir()
    identity = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = [_free_pair() for _ in range(4)]
    named = zip(("s3.port", "master.port", "volume.port", "filer.port"), ports, strict=True)
    options = [*(f"-{name}={port}" for name, port in named), "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command = [str(WEED), "server", "-ip=127.0.0.1", f"-dir={folder}", "-filer", "-s3", f"-s3.config={folder}/s3.json"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(f"http://127.0.0.1:{ports[0]}", process)
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def _free_pair() -> int:
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            if port + _GRPC > 65_535:
                continue
            try:
                other.bind(("127.0.0.1", port + _GRPC))
            except OSError:
                continue
            return port


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "weed has ended"
        try:
            httpx.get(url, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError("weed does not answer")
