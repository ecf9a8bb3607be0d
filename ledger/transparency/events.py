"""The entries of the log: typed events as canonical JSON (RFC 8785), format ``treasury-event-v1``.

What is written once is never changed, so a field that is added later needs a default. Decimal numbers are texts,
because JSON's numbers are not exact. Hashes are lower-case hexadecimal.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import rfc8785
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from ledger.errors import DataError
from ledger.transparency.tiles import MOST_ENTRY_BYTES

FORMAT = "treasury-event-v1"
LARGEST_NUMBER = 2**53 - 1  # of JSON, exactly

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TableName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
MonthName = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Count = Annotated[int, Field(ge=0, le=LARGEST_NUMBER)]
Number = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]
VerifierKeys = tuple[str, ...]


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(_instant, return_type=str)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Body(_Model):
    """What happened. ``event`` names the kind.

    ``later`` are fields that came after the first entries were written: they are left out where they have their
    default, so that an entry keeps its bytes.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        defaults = {name: type(self).model_fields[name].get_default() for name in self.later}
        return {name: value for name, value in content.items() if name not in defaults or value != defaults[name]}


class LoggedObject(_Model):
    """An object of the archive: its key under the archive's URL, its size, the SHA-256 of its bytes."""

    key: str
    size_bytes: Count
    sha256: Sha256


class LoggedManifest(_Model):
    """A manifest: its key under the archive's URL, the SHA-256 of its bytes."""

    key: str
    sha256: Sha256


class LoggedTree(_Model):
    """The head of a month's tree: how its leaves are made and ordered, how many they are, the root."""

    method: str
    size: Count
    root: Sha256


class LogOpened(_Body):
    """The log begins. ``origin`` is the first line of its checkpoints."""

    event: Literal["log_opened"] = "log_opened"
    origin: str


class KeptRows(_Model):
    """A part whose rows holds have kept: of which part they were, by which holds, and the object with a proof of each
    row against that part's root.
    """

    of_part: Number
    holds: tuple[str, ...]
    proofs: LoggedObject


class Archived(_Body):
    """A part of a month went cold. ``sums`` are decimal texts, by currency and money column.

    ``objects`` are the file with the rows and the roots of the tree's chunks. ``layout`` says how the rows are laid out
    (`ledger.month_tree.Layout`). So an entry and a row prove each other. ``adopted``: cold before the log began.
    ``kept``: the rest of the month is deleted at the same time, and these rows stay because of holds.
    """

    later: ClassVar[frozenset[str]] = frozenset({"kept"})

    event: Literal["archived"] = "archived"
    table: TableName
    month: MonthName
    part: Number
    manifest: LoggedManifest
    objects: tuple[LoggedObject, ...] = Field(min_length=1)
    tree: LoggedTree
    rows: Count
    sums: dict[str, dict[str, str]]
    layout: dict[str, Any]
    adopted: bool = False
    kept: KeptRows | None = None


class _MonthEvent(_Body):
    """An event of an archived month; ``part`` is None where all its parts are meant."""

    table: TableName
    month: MonthName
    part: Number | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class Reverified(_MonthEvent):
    """The objects of a month were read again and are what the log says. ``deep``: every row, too."""

    event: Literal["reverified"] = "reverified"
    deep: bool
    manifest_sha256: Sha256


class Restored(_MonthEvent):
    """A month was brought back into a schema for a limited time. It stays in the archive."""

    event: Literal["restored"] = "restored"


class Deepened(_MonthEvent):
    """The object with the rows of a part went into another storage class; None where it stays as it is. The bytes are
    the same ones.
    """

    event: Literal["deepened"] = "deepened"
    storage_class: str | None
    manifest_sha256: Sha256


class _HoldEvent(_Body):
    """An event of a hold, which ``hold`` names. ``record`` is the object that says who decided, why, and on whose rows:
    the log itself names nobody.
    """

    later: ClassVar[frozenset[str]] = frozenset({"last_month", "subject", "record"})

    hold: str
    table: TableName | None = None
    month: MonthName | None = None
    last_month: MonthName | None = None
    part: Number | None = None
    details: dict[str, Any] = Field(default_factory=dict)
    subject: Literal["wallet", "user", "client"] | None = None
    record: LoggedObject | None = None


class Held(_HoldEvent):
    """A hold keeps months, from ``month`` to ``last_month``, or rows in them, from being deleted.

    ``table`` is None for every table. ``subject`` says whose rows are kept, None for all rows.
    """

    event: Literal["held"] = "held"


class Released(_HoldEvent):
    """A hold was taken off, by two people."""

    event: Literal["released"] = "released"


class DeletionBegun(_MonthEvent):
    """From here on the objects of ``parts`` need not exist: a request with the hash ``plan_sha256`` was approved, its
    grace period is over, and no hold keeps them. ``record`` is the order, which names the people and the objects.
    """

    event: Literal["deletion_begun"] = "deletion_begun"
    parts: tuple[Number, ...] = Field(min_length=1)
    certificate: str
    plan_sha256: Sha256
    record: LoggedObject


class Deleted(_MonthEvent):
    """A part of a month was deleted at the end of its retention: no version of its objects exists any more.

    ``certificate`` is the number of the certificate, ``record`` the object with it.
    """

    later: ClassVar[frozenset[str]] = frozenset({"certificate", "record"})

    event: Literal["deleted"] = "deleted"
    manifest_sha256: Sha256
    certificate: str | None = None
    record: LoggedObject | None = None


class AuditHead(_Model):
    """The newest event of the audit chain of reconciliation."""

    event_no: Count
    hash: Sha256


class _PeriodEvent(_Body):
    """An event of a period of reconciliation days (Africa/Johannesburg), with the head of the audit chain after it."""

    supplier: str
    first_day: date
    last_day: date
    audit_head: AuditHead


class PeriodClosed(_PeriodEvent):
    """Two people closed a period."""

    event: Literal["period_closed"] = "period_closed"


class PeriodReopened(_PeriodEvent):
    """A closed period was opened again."""

    event: Literal["period_reopened"] = "period_reopened"


class KeyRotated(_Body):
    """From this entry on the log is signed by ``new``; ``old``, empty at first, stay valid for what they signed."""

    event: Literal["key_rotated"] = "key_rotated"
    old: VerifierKeys
    new: VerifierKeys = Field(min_length=1)


class Former(_Model):
    """The installation that a database was before."""

    installation: UUID
    incarnation: Number


class Incarnation(_Body):
    """A database took the place of another one (``continued``), or left with an archive of its own (``separated``)."""

    event: Literal["incarnation"] = "incarnation"
    kind: Literal["continued", "separated"]
    former: Former | None


Body = Annotated[
    LogOpened
    | Archived
    | Reverified
    | Restored
    | Deepened
    | Held
    | Released
    | DeletionBegun
    | Deleted
    | PeriodClosed
    | PeriodReopened
    | KeyRotated
    | Incarnation,
    Field(discriminator="event"),
]


class Event(_Model):
    """An entry: what happened, when (UTC), and which database says so.

    ``number`` counts the events of an installation's incarnation from 1 without gaps: one that was taken away before it
    was published is missed by the next.
    """

    format: Literal["treasury-event-v1"] = "treasury-event-v1"
    installation: UUID
    incarnation: Number
    number: Number
    happened_at: Instant
    body: Body

    def to_bytes(self) -> bytes:
        """The entry: canonical JSON. Raises DataError for one that is too long or holds what JSON cannot."""
        if _holds_float(self.model_dump()):  # as it is: in JSON an infinity would be null
            raise DataError(f"event {self.body.event}: a floating-point number, which is not exact: write it as text")
        try:
            content = rfc8785.dumps(self.model_dump(mode="json"))
        except rfc8785.CanonicalizationError as error:
            raise DataError(f"event {self.body.event}: {error}") from None
        if len(content) > MOST_ENTRY_BYTES:
            raise DataError(f"event {self.body.event}: {len(content)} bytes, an entry has at most {MOST_ENTRY_BYTES}")
        return content

    @classmethod
    def from_bytes(cls, entry: bytes) -> "Event":
        """Read an entry. Raises DataError naming what is wrong, also for one that is not canonical."""
        event = cls.read_own(entry)
        if event.to_bytes() != entry:
            raise DataError(f"the entry is no {FORMAT}: it is not in canonical form")
        return event

    @classmethod
    def read_own(cls, entry: bytes) -> "Event":
        """Read an entry that `to_bytes` has made. Raises DataError naming what is wrong."""
        try:
            return cls.model_validate_json(entry)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "JSON"
            raise DataError(f"the entry is no {FORMAT}: {place}: {first['msg']}") from None


def _holds_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_float, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_float, value))
    return isinstance(value, float)


def origin_of(installation: UUID) -> str:
    """The origin of an installation's log."""
    return f"treasury/{installation}"
