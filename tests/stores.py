"""S3 servers with what the embedded one lacks: SeaweedFS has versions and Object Lock, moto a class to be restored."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from config import Settings
from storage.store import ObjectStore

KEY, SECRET = "tests", "tests-secret"
_GRPC = 10_000  # each port of SeaweedFS has a second one, so far above
_PATIENCE_S = 120


@dataclass(frozen=True)
class Store:
    """A running server. ``locking`` is a bucket with Object Lock, ``plain`` one without versions."""

    url: str
    locking: str
    plain: str
    versioned: str

    def settings(self, settings: Settings, bucket: str, prefix: str) -> Settings:
        """Settings whose archive is a part of a bucket of the server."""
        changes: dict[str, Any] = {
            "archive_url": f"s3://{bucket}/{prefix}",
            "s3_endpoint_url": self.url,
            "s3_access_key_id": KEY,
            "s3_secret_access_key": SecretStr(SECRET),
        }
        return settings.model_copy(update=changes)


@contextmanager
def seaweed(settings: Settings, folder: Path) -> Iterator[Store]:
    """A running SeaweedFS with its buckets."""
    folder.mkdir()
    identity = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = [_free_pair() for _ in range(4)]
    named = zip(("s3.port", "master.port", "volume.port", "filer.port"), ports, strict=True)
    options = [*(f"-{name}={port}" for name, port in named), "-s3.port.iceberg=0", "-s3.port.lance=0"]
    # A bucket takes several volumes with its first object, and the default is eight for all buckets.
    options += ["-volume.max=200", "-master.volumeSizeLimitMB=64"]
    weed = str(Path(sys.executable).parent / "weed")
    command = [weed, "server", "-ip=127.0.0.1", f"-dir={folder}", "-filer", "-s3", f"-s3.config={folder}/s3.json"]
    with _running([*command, *options], folder / "log", f"http://127.0.0.1:{ports[0]}") as url:
        yield _with_buckets(settings, url)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def moto(settings: Settings, folder: Path) -> Iterator[Store]:
    """A running server of moto with its buckets."""
    folder.mkdir()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, folder / "log", f"http://127.0.0.1:{port}") as url:
        yield _with_buckets(settings, url)


@contextmanager
def _running(command: list[str], log: Path, url: str) -> Iterator[str]:
    """The server, killed at the end: its data are thrown away, and an orderly end takes SeaweedFS half a minute."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=dict(os.environ))
        try:
            _until(lambda: _answers(url, process), f"{command[0]} does not answer")
            yield url
        finally:
            process.kill()
            process.wait(timeout=60)


def _with_buckets(settings: Settings, url: str) -> Store:
    store = Store(url, "locking", "plain", "versioned")

    def make() -> bool:
        objects = ObjectStore(store.settings(settings, store.plain, "made"))
        try:
            objects.call("create_bucket", Bucket=store.locking, ObjectLockEnabledForBucket=True)
            objects.call("create_bucket", Bucket=store.plain)
            objects.call("create_bucket", Bucket=store.versioned)
            on = {"Status": "Enabled"}
            objects.call("put_bucket_versioning", Bucket=store.versioned, VersioningConfiguration=on)
        except OSError:
            return False
        return True

    _until(make, "the server makes no bucket")
    return store


def _answers(url: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the server has ended"
    try:
        httpx.get(url, timeout=5)
    except httpx.HTTPError:
        return False
    return True


def _until(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


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
