"""Ranges of bytes of S3 objects by libcurl, which signs each request itself.

It takes a third of the processor time of Arrow's client, which also asks for an object's size first; s3fs takes several
times as much.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote

import certifi
import pycurl  # type: ignore[import-untyped]  # it has no types

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError

_CONNECT_TIMEOUT_MS = 5000
_TRIES = 2
_SLOWEST = (
    1024  # bytes a second: a request that gets fewer for so long is given up, also one that gets a few all the time
)
_ERROR_BYTES = 64 << 10  # of an error's text
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")
_PARTIAL, _WHOLE, _MISSING, _OUTSIDE = 206, 200, 404, 416


class S3Ranges:
    """Reads objects below a folder of a bucket. Thread-safe: each request has its own connection, which is kept."""

    def __init__(self, settings: Settings, bucket: str, folder: str) -> None:
        self._settings = settings
        self._address = "/".join([_address(settings, bucket), *([quote(folder)] if folder else [])])
        self._idle: SimpleQueue[pycurl.Curl] = SimpleQueue()

    def close(self) -> None:
        """Close the connections that are idle. Safe to call twice."""
        while (curl := self._idle_one()) is not None:
            curl.close()

    def read(self, key: str, start: int, end: int) -> bytes:
        """The bytes of an object from ``start`` to ``end``; fewer where it ends before.

        Raises DataError where the object is missing or ends before ``start``, ConfigError where it is denied,
        TransientError for all else, after two tries.
        """
        reason = ""
        for _ in range(_TRIES):
            try:
                status, content = self._get(key, start, end)
            except pycurl.error as error:
                reason = str(error.args[-1])
                continue
            if status == _PARTIAL:
                return content
            if status == _WHOLE:  # some servers say so of a range, others give the whole object
                return content if len(content) <= end - start else content[start:end]
            reason = _code(status, content)
            if status not in _AGAIN:
                raise _refusal(key, status, reason)
        raise TransientError(f"object store: cannot read {key}: {reason}")

    def _get(self, key: str, start: int, end: int) -> tuple[int, bytes]:
        content = _Bounded(max(end, _ERROR_BYTES))
        with self._taken() as curl:
            curl.setopt(pycurl.URL, f"{self._address}/{quote(key)}")
            curl.setopt(pycurl.RANGE, f"{start}-{end - 1}")
            curl.setopt(pycurl.WRITEFUNCTION, content.write)
            self._sign(curl)
            try:
                curl.perform()
            except pycurl.error:
                if not content.is_full:  # what is behind it was not asked for
                    raise
            return int(curl.getinfo(pycurl.RESPONSE_CODE)), content.value

    @contextmanager
    def _taken(self) -> Iterator[pycurl.Curl]:
        curl = self._idle_one() or self._new()
        yield curl
        self._idle.put(curl)

    def _idle_one(self) -> pycurl.Curl | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None

    def _new(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{self._settings.s3_region}:s3")
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.CAINFO, certifi.where())
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, _CONNECT_TIMEOUT_MS)
        curl.setopt(pycurl.LOW_SPEED_LIMIT, _SLOWEST)
        curl.setopt(pycurl.LOW_SPEED_TIME, math.ceil(self._settings.store_timeout_s))
        return curl

    def _sign(self, curl: pycurl.Curl) -> None:
        access, secret = self._settings.s3_access_key_id, self._settings.s3_secret_access_key
        if access is not None and secret is not None:
            curl.setopt(pycurl.USERPWD, f"{access}:{secret.get_secret_value()}")
            return
        credentials = self._provided.get_frozen_credentials()  # fresh ones, where they are for some hours
        curl.setopt(pycurl.USERPWD, f"{credentials.access_key}:{credentials.secret_key}")
        curl.setopt(pycurl.HTTPHEADER, [f"x-amz-security-token: {credentials.token}"] if credentials.token else [])

    @cached_property
    def _provided(self) -> Any:
        """The credentials that the machine has: of its environment, its files, its role."""
        from botocore.session import Session  # type: ignore[import-untyped]  # noqa: PLC0415  # slow, and seldom needed

        credentials = Session().get_credentials()
        if credentials is None:
            raise ConfigError("object store: TREASURY_S3_ACCESS_KEY_ID is not set, and the machine has no credentials")
        return credentials


class _Bounded:
    """The body of an answer, of which no more than ``most`` bytes are kept: a server may send for ever."""

    def __init__(self, most: int) -> None:
        self._content, self._most = BytesIO(), most
        self.is_full = False

    def write(self, content: bytes) -> int:
        """Keep bytes; fewer than were given end the transfer."""
        room = self._most - self._content.tell()
        self.is_full = len(content) > room
        return self._content.write(content[:room])

    @property
    def value(self) -> bytes:
        """What is kept."""
        return self._content.getvalue()


def _address(settings: Settings, bucket: str) -> str:
    """Where the objects of a bucket are: at the endpoint of the settings, or at Amazon's."""
    if settings.s3_endpoint_url is not None:
        return f"{settings.s3_endpoint_url.rstrip('/')}/{bucket}"
    if "." in bucket:  # no certificate of Amazon covers such a name
        return f"https://s3.{settings.s3_region}.amazonaws.com/{bucket}"
    return f"https://{bucket}.s3.{settings.s3_region}.amazonaws.com"


def _code(status: int, content: bytes) -> str:
    match = _CODE.search(content)
    return match[1].decode() if match else f"status {status}"


def _refusal(key: str, status: int, reason: str) -> ConfigError | DataError:
    if reason == "NoSuchBucket":
        return ConfigError(f"object store: cannot read {key}: TREASURY_ARCHIVE_URL names no bucket that is there")
    if status == _MISSING:
        return DataError(f"object store: cannot read {key}: it is not there")
    if status == _OUTSIDE:
        return DataError(f"object store: cannot read {key}: it ends before the bytes that were archived")
    return ConfigError(f"object store: not allowed to read {key}: {reason}")
