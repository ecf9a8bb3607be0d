"""The manifest: the record of one archived month, canonical JSON beside its files. It is the truth about them.

Readers use the keys it lists and never search a folder. Its bytes are canonical (sorted names, no spaces, UTF-8), so
one content has one SHA-256. The signature and the chain over manifests are laid beside it, not into it.
"""

import json
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.canonical import ROW_FORMAT
from ledger.columns import Column, ColumnKind
from ledger.errors import DataError
from ledger.money import plain
from ledger.policy import TierPolicy
from ledger.proof import Group, MonthProof
from ledger.tables import TieredTable


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ManifestColumn(_Part):
    """A column of the rows as archived. ``field_id`` is its number within the table, the same in the Parquet file."""

    field_id: int = Field(ge=1)
    name: str
    kind: ColumnKind
    nullable: bool
    precision: int | None
    scale: int | None


class ManifestFile(_Part):
    """One object with rows: its key under the archive's URL, its size in bytes, the SHA-256 of its bytes in hex."""

    key: str
    size_bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int


class ManifestGroup(_Part):
    """The rows of one currency and status; sums are decimal strings per money column; instants are UTC."""

    currency: str | None
    status: str | None
    rows: int
    sums: dict[str, str]
    first: datetime
    last: datetime


class Manifest(_Part):
    """Everything that must be known to read one archived month and to prove it unaltered."""

    format: Literal["treasury-manifest-v1"] = "treasury-manifest-v1"
    installation: UUID
    table: str
    month: str = Field(pattern=r"^\d{4}-\d{2}$")
    part: int = Field(ge=1)
    row_format: Literal["row-v1"] = ROW_FORMAT
    digest_method: Literal["sha256-merkle-rfc6962-by-key"] = "sha256-merkle-rfc6962-by-key"
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    key_column: str
    keys_tell_month: bool
    time_column: str
    currency_column: str | None
    status_column: str | None
    sorted_by: tuple[str, ...]
    columns: tuple[ManifestColumn, ...]
    rows: int
    groups: tuple[ManifestGroup, ...]
    files: tuple[ManifestFile, ...]
    policy: TierPolicy

    def to_bytes(self) -> bytes:
        """The canonical JSON."""
        content = self.model_dump(mode="json")
        return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes, key: str) -> "Manifest":
        """Read a manifest. Raises DataError naming ``key`` when it is none, or not in canonical form."""
        try:
            manifest = cls.model_validate_json(content)
        except ValidationError as error:
            raise DataError(f"{key} is not a manifest: {error.errors()[0]['msg']}") from error
        if manifest.to_bytes() != content:
            raise DataError(f"{key} is not in canonical form")
        return manifest


def describe_month(
    installation: UUID,
    table: TieredTable,
    month: str,
    part: int,
    columns: tuple[Column, ...],
    proof: MonthProof,
    files: tuple[ManifestFile, ...],
) -> Manifest:
    """The manifest of a month (``YYYY-MM``) that has been verified: the proof, the files, and how to read them.

    ``installation`` is the one that archived it; ``part`` is 1, more for rows that came late. Every column must have
    its number.
    """
    return Manifest(
        installation=installation,
        table=table.name,
        month=month,
        part=part,
        digest=proof.digest.hex(),
        key_column=table.key_column,
        keys_tell_month=proof.keys_tell_month,
        time_column=table.time_column,
        currency_column=table.currency_column,
        status_column=table.status_column,
        sorted_by=table.cold_order,
        columns=tuple(
            ManifestColumn(
                field_id=column.field_id or 0,
                name=column.name,
                kind=column.kind,
                nullable=column.nullable,
                precision=column.precision,
                scale=column.scale,
            )
            for column in columns
        ),
        rows=proof.rows,
        groups=tuple(_group(table, group) for group in proof.groups),
        files=files,
        policy=table.policy,
    )


def _group(table: TieredTable, group: Group) -> ManifestGroup:
    sums = {column: plain(value) for column, value in zip(table.money_columns, group.sums, strict=True)}
    return ManifestGroup(
        currency=group.currency, status=group.status, rows=group.rows, sums=sums, first=group.first, last=group.last
    )
