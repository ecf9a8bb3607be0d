"""The manifest: the record of one archived month, canonical JSON beside its files. It is the truth about them.

Readers use the keys it lists and never search a folder. Its bytes are canonical JSON (RFC 8785), so one content has one
SHA-256. It is not signed itself: its SHA-256 is in an event of the log.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.canonical import ROW_FORMAT
from ledger.columns import Column, ColumnKind
from ledger.errors import DataError
from ledger.money import plain
from ledger.month_tree import CHUNK_LEAVES, DIGEST_METHOD, GROUP_FORMAT, Layout, TreeHead
from ledger.policy import TierPolicy
from ledger.proof import MonthContent, Totals
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


class ManifestObject(_Part):
    """An object: its key under the archive's URL, its size in bytes, the SHA-256 of its bytes in hex."""

    key: str
    size_bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ManifestRowGroup(_Part):
    """A row group of a file: its rows, and the number of the first leaf of the tree that belongs to it."""

    rows: int
    first_leaf: int


class ManifestFile(ManifestObject):
    """One object with rows."""

    rows: int
    row_groups: tuple[ManifestRowGroup, ...]


class ManifestTree(ManifestObject):
    """The month's tree: the number of its leaves, its root in hex, and the object with the roots of its chunks. Each
    root has 32 bytes, one after the other; the last chunk may have fewer leaves.
    """

    leaves: int
    root: str = Field(pattern=r"^[0-9a-f]{64}$")
    chunk_leaves: Literal[256] = CHUNK_LEAVES


class ManifestTotals(_Part):
    """The rows of one currency, type and status; sums are decimal strings per money column; instants are UTC."""

    currency: str | None
    type: str | None
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
    group_format: Literal["group-v1"] = GROUP_FORMAT
    digest_method: Literal["sha256-rfc6962-file-order-v1"] = DIGEST_METHOD
    tree: ManifestTree
    lookup: ManifestObject | None = None  # none in manifests from before lookups
    key_column: str
    keys_tell_month: bool
    time_column: str
    currency_column: str | None
    type_column: str | None
    status_column: str | None
    money_columns: tuple[str, ...]
    sorted_by: tuple[str, ...]
    group_column: str | None
    columns: tuple[ManifestColumn, ...]
    rows: int
    totals: tuple[ManifestTotals, ...]
    files: tuple[ManifestFile, ...]
    policy: TierPolicy

    def to_bytes(self) -> bytes:
        """The canonical JSON."""
        absent = {"lookup"} if self.lookup is None else None
        return rfc8785.dumps(self.model_dump(mode="json", exclude=absent))

    @property
    def layout(self) -> Layout:
        """How the rows are laid out."""
        return Layout(
            columns=tuple(Column(**column.model_dump()) for column in self.columns),
            sorted_by=self.sorted_by,
            group_column=self.group_column,
            money_columns=self.money_columns,
            currency_column=self.currency_column,
            type_column=self.type_column,
            status_column=self.status_column,
        )

    @property
    def head(self) -> TreeHead:
        """The month's tree."""
        return TreeHead(self.tree.leaves, bytes.fromhex(self.tree.root))

    @property
    def keys(self) -> list[str]:
        """The keys of all objects that it names."""
        return [stored.key for stored in self.objects]

    @property
    def objects(self) -> "list[ManifestObject]":
        """All objects that it names."""
        return [*self.files, self.tree, *([] if self.lookup is None else [self.lookup])]

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
    content: MonthContent,
    tree: ManifestTree,
    files: tuple[ManifestFile, ...],
    *,
    lookup: ManifestObject | None = None,
) -> Manifest:
    """The manifest of a month (``YYYY-MM``) that has been verified: what it holds, its objects, and how to read them.

    ``installation`` is the one that archived it; ``part`` is 1, more for rows that came late. Every column must have
    its number.
    """
    return Manifest(
        installation=installation,
        table=table.name,
        month=month,
        part=part,
        tree=tree,
        lookup=lookup,
        key_column=table.key_column,
        keys_tell_month=content.keys_tell_month,
        time_column=table.time_column,
        currency_column=table.currency_column,
        type_column=table.type_column,
        status_column=table.status_column,
        money_columns=table.money_columns,
        sorted_by=table.cold_order,
        group_column=table.group_column,
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
        rows=content.rows,
        totals=tuple(_totals(table, totals) for totals in content.totals),
        files=files,
        policy=table.policy,
    )


def _totals(table: TieredTable, totals: Totals) -> ManifestTotals:
    return ManifestTotals(
        currency=totals.currency,
        type=totals.type,
        status=totals.status,
        rows=totals.rows,
        sums={column: plain(value) for column, value in zip(table.money_columns, totals.sums, strict=True)},
        first=totals.first,
        last=totals.last,
    )
