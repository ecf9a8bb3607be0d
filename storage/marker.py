"""The marker: the object in an archive's prefix that names the one installation that may write there."""

import json
from datetime import datetime
from pathlib import Path
from posixpath import normpath
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.errors import DataError
from storage.store import ObjectStore

KEY = "_treasury/installation.json"


class Marker(BaseModel):
    """What the object holds. ``token`` changes with every piece of work; ``location`` is the URL that it was made for.
    ``endpoint`` is the address of the S3 server, null for AWS and for folders; ``written_at`` is UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["treasury-installation-v1"] = "treasury-installation-v1"
    installation: UUID
    incarnation: int = Field(ge=1)
    token: UUID
    location: str
    endpoint: str | None
    written_at: datetime

    def to_bytes(self) -> bytes:
        """The canonical JSON: names sorted, no spaces, UTF-8."""
        content = self.model_dump(mode="json")
        return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Marker":
        """Read a marker. Raises DataError when the bytes are none, or not in canonical form."""
        try:
            marker = cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "JSON"
            raise DataError(f"{KEY} cannot be read as a marker: {place}: {first['msg']}") from error
        if marker.to_bytes() != content:
            raise DataError(f"{KEY} cannot be read as a marker: it is not in canonical form")
        return marker


def read_marker(store: ObjectStore) -> Marker | None:
    """The marker as it is now, None where there is none. Raises DataError for an object that is not a marker."""
    content = store.find_bytes(KEY)
    return None if content is None else Marker.from_bytes(content)


def write_marker(store: ObjectStore, marker: Marker) -> bool:
    """Put the marker in place of the one that is there and read it back; False when another one came back."""
    store.replace_bytes(marker.to_bytes(), KEY)
    return store.find_bytes(KEY) == marker.to_bytes()


def location_of(url: str) -> str:
    """An archive's URL without the slashes at its end."""
    return url.rstrip("/")


def is_same_location(location: str, other: str) -> bool:
    """Whether two URLs may mean one place. Links of the file system are followed; doubled slashes, `.` and the case of
    the bucket's name do not count. Errs on the side of yes. Two addresses of one S3 server are not looked at.
    """
    return _place(location) == _place(other)


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(location_of(url))
    if parts.scheme == "file":
        return "file", str(Path(parts.path).resolve())
    return parts.netloc.lower(), normpath(f"/{parts.path.lstrip('/')}")
