"""Storage classes of S3: which one an object is in, whether it can be read, and the same object in another class."""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from pathlib import Path
from typing import Any

from config import Settings
from ledger.errors import ConfigError, ConflictError, DataError, VerificationError
from storage.store import ObjectStore, version_of
from storage.store_errors import error_code, translated

STANDARD = "STANDARD"
# S3 copies at most 5 GB in one request, and each must end in TREASURY_STORE_TIMEOUT_S.
COPY_PART_BYTES = 1 << 30
_BLOCK_BYTES = 4 << 20
_MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?\Z")
_EXPIRY = re.compile(r'expiry-date="([^"]+)"')
_NOT_OFFERED = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405", "XNotImplemented"})


@dataclass(frozen=True, slots=True)
class CopySums:
    """What S3 must say of an object that was copied in parts of ``part_bytes``: size, ETag, SHA-256 in base64.

    Of an object of several parts, both are made of those of the parts, with their number behind.
    """

    size_bytes: int
    part_bytes: int
    etag: str
    checksum: str

    @classmethod
    def of(cls, path: Path, part_bytes: int = COPY_PART_BYTES) -> "CopySums":
        """The sums of a local file."""
        size_bytes = path.stat().st_size
        parts = list(_part_sums(path, part_bytes))
        if len(parts) <= 1:
            md5, sha256 = parts[0] if parts else (hashlib.md5(b""), hashlib.sha256(b""))  # noqa: S324  # what S3 makes ETags of
            return cls(size_bytes, part_bytes, md5.hexdigest(), checksum_of(sha256.digest()))
        md5s = hashlib.md5(b"".join(md5.digest() for md5, _ in parts))  # noqa: S324
        sha256s = hashlib.sha256(b"".join(sha256.digest() for _, sha256 in parts))
        number = len(parts)
        return cls(size_bytes, part_bytes, f"{md5s.hexdigest()}-{number}", f"{checksum_of(sha256s.digest())}-{number}")

    @classmethod
    def of_content(cls, content: bytes) -> "CopySums":
        """The sums of bytes in memory, in one part."""
        md5 = hashlib.md5(content).hexdigest()  # noqa: S324
        return cls(len(content), COPY_PART_BYTES, md5, checksum_of(hashlib.sha256(content).digest()))


def _part_sums(path: Path, part_bytes: int) -> Iterator[tuple[Any, Any]]:
    with path.open("rb") as file:
        while True:
            md5, sha256, left = hashlib.md5(), hashlib.sha256(), part_bytes  # noqa: S324
            while left and (block := file.read(min(_BLOCK_BYTES, left))):
                md5.update(block)
                sha256.update(block)
                left -= len(block)
            if left == part_bytes:
                return
            yield md5, sha256


def checksum_of(digest: bytes) -> str:
    """A digest as S3 writes it: in base64."""
    return base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class ClassState:
    """What the store says of the newest version of an object, without reading it.

    ``version`` is empty without versions. ``etag`` and ``checksum`` (SHA-256, base64) are empty where the store has
    none. ``restoring``: a restore is under way. ``readable_until``: the end of a restored copy, UTC.
    """

    size_bytes: int
    storage_class: str
    version: str
    etag: str
    checksum: str
    restoring: bool = False
    readable_until: datetime | None = None

    def require(self, key: str, sums: CopySums) -> None:
        """Raise VerificationError unless the object is the one that ``sums`` are of.

        The SHA-256 decides where the store has it, else the ETag. A store that has neither has proved nothing.
        """
        if self.size_bytes != sums.size_bytes:
            raise VerificationError(f"{key}: the copy has {self.size_bytes} bytes, and {sums.size_bytes} were read")
        if self.checksum:
            if _bare(self.checksum) != _bare(sums.checksum):
                raise VerificationError(f"{key}: the SHA-256 of the copy is {self.checksum}, not {sums.checksum}")
        elif _MD5.match(self.etag) is None:
            raise VerificationError(
                f"{key}: the store has neither a SHA-256 nor an MD5 of the copy, so nothing proves it"
            )
        elif self.etag != sums.etag:
            raise VerificationError(f"{key}: the ETag of the copy is {self.etag}, not {sums.etag}")


def _bare(checksum: str) -> str:
    """A checksum without the number of parts, which not every store writes behind it."""
    return checksum.partition("-")[0]


class StorageClasses:
    """The storage classes of the archive's objects. Every call asks the store afresh."""

    def __init__(self, settings: Settings) -> None:
        self._store = ObjectStore(settings)

    @property
    def are_offered(self) -> bool:
        """Whether the archive is in a store that may have storage classes at all."""
        return not self._store.is_folder

    def state(self, key: str) -> ClassState:
        """The state of an object. Raises DataError when it is absent."""
        if self._store.is_folder:
            path = Path(self._store.path(key))
            if not path.exists():
                raise DataError(f"object store: cannot look at {key}: it is not there")
            return ClassState(path.stat().st_size, STANDARD, "", "", "")
        bucket, rest = self._store.place(key)
        with translated(f"look at {key}"):
            head = self._store.call("head_object", Bucket=bucket, Key=rest, ChecksumMode="ENABLED")
        return _state(head)

    def copy(self, key: str, source_version: str, source_etag: str, storage_class: str, part_bytes: int) -> None:
        """Put the object ``key`` into a storage class: a copy onto itself, of the version that was read.

        Raises ConflictError where the object is another one by now, and the store's errors. Safe to run again.
        """
        bucket, rest = self._store.place(key)
        source: dict[str, str] = {"Bucket": bucket, "Key": rest}
        if source_version:
            source["VersionId"] = source_version
        size_bytes = self.state(key).size_bytes
        whole = {"Bucket": bucket, "Key": rest, "StorageClass": storage_class}
        taken = {"CopySource": source, "CopySourceIfMatch": source_etag}
        with translated(f"copy {key} into {storage_class}"):
            try:
                if size_bytes <= part_bytes:
                    self._copy_whole({**whole, **taken, "ChecksumAlgorithm": "SHA256"})
                else:
                    self._copy_parts(whole, taken, size_bytes, part_bytes)
            except OSError as error:
                if error_code(error) in ("PreconditionFailed", "412"):
                    raise ConflictError(f"{key}: was replaced while it was copied; run it again") from error
                raise

    def _copy_whole(self, request: dict[str, Any]) -> None:
        """A copy in one request. Some stores take one onto itself only with metadata that are written again: there are
        none but the type of the content.
        """
        try:
            self._store.call("copy_object", **request, MetadataDirective="COPY")
        except OSError as error:
            if error_code(error) != "InvalidRequest":
                raise
            self._store.call("copy_object", **request, MetadataDirective="REPLACE")

    def _copy_parts(self, whole: dict[str, str], taken: dict[str, Any], size_bytes: int, part_bytes: int) -> None:
        place = {name: whole[name] for name in ("Bucket", "Key")}
        self._store.sweep_path(place["Bucket"], place["Key"])
        begun = self._store.call("create_multipart_upload", **whole, ChecksumAlgorithm="SHA256")
        upload = place | {"UploadId": begun["UploadId"]}
        parts = []
        for number, first in zip(count(1), range(0, size_bytes, part_bytes), strict=False):
            last = min(first + part_bytes, size_bytes) - 1
            spanned = {"PartNumber": number, "CopySourceRange": f"bytes={first}-{last}"}
            copied_part = self._store.call("upload_part_copy", **upload, **taken, **spanned)["CopyPartResult"]
            sums = {"ChecksumSHA256": copied_part["ChecksumSHA256"]} if copied_part.get("ChecksumSHA256") else {}
            parts.append({"PartNumber": number, "ETag": copied_part["ETag"]} | sums)
        self._store.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})

    def restore(self, key: str, days: int, tier: str) -> None:
        """Ask the store to make an object readable for some days. Safe to run again while that is under way.

        Raises ConfigError where the store does not offer it.
        """
        bucket, rest = self._store.place(key)
        request = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
        with translated(f"restore {key}"):
            try:
                self._store.call("restore_object", Bucket=bucket, Key=rest, RestoreRequest=request)
            except OSError as error:
                code = error_code(error)
                if code in _NOT_OFFERED:
                    raise ConfigError(
                        f"{key}: the store has no RestoreObject: restore it by the store's own means"
                    ) from error
                if code != "RestoreAlreadyInProgress":
                    raise


def _state(head: Any) -> ClassState:
    restore = str(head.get("Restore") or "")
    expiry = _EXPIRY.search(restore)
    return ClassState(
        size_bytes=int(head["ContentLength"]),
        storage_class=str(head.get("StorageClass") or STANDARD),
        version=version_of(head),
        etag=str(head.get("ETag") or "").strip('"'),
        checksum=str(head.get("ChecksumSHA256") or ""),
        restoring='ongoing-request="true"' in restore,
        readable_until=parsedate_to_datetime(expiry[1]).astimezone(UTC) if expiry else None,
    )
