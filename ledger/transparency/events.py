"""The entries of the log: typed events as canonical JSON (RFC 8785), format ``treasury-event-v1``.

What is written once is never changed, so a field that is added later needs a default. Decimal numbers are texts,
because JSON's numbers are not exact. Hashes are lower-case hexadecimal.
"""

import hashlib
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
import rfc8785
from msgspec import Meta

from ledger.errors import DataError
from ledger.transparency.tiles import MOST_ENTRY_BYTES

FORMAT = "treasury-event-v1"
LARGEST_NUMBER = 2**53 - 1  # of JSON, exactly

Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
TableName = Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_]{0,62}\Z")]
MonthName = Annotated[str, Meta(pattern=r"\A[0-9]{4}-(0[1-9]|1[0-2])\Z")]
Count = Annotated[int, Meta(ge=0, le=LARGEST_NUMBER)]
Number = Annotated[int, Meta(ge=1, le=LARGEST_NUMBER)]
VerifierKeys = tuple[str, ...]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Named values of the log. They are checked where JSON is read, and by `Event.to_bytes`; not when one is made."""


class _Body(Record, frozen=True, tag_field="event"):
    """What happened. ``event`` names the kind.

    ``later`` are fields that came after the first entries were written: they are left out where they are None, so that
    an entry keeps its bytes.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @property
    def event(self) -> str:
        """The kind, as the entry has it."""
        return str(self.__struct_config__.tag)


class LoggedObject(Record, frozen=True):
    """An object of the archive: its key under the archive's URL, its size, the SHA-256 of its bytes."""

    key: str
    size_bytes: Count
    sha256: Sha256


def logged(key: str, content: bytes) -> LoggedObject:
    """Describe an object by its key and its bytes."""
    return LoggedObject(key=key, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


class LoggedManifest(Record, frozen=True):
    """A manifest: its key under the archive's URL, the SHA-256 of its bytes."""

    key: str
    sha256: Sha256


class LoggedTree(Record, frozen=True):
    """The head of a month's tree: how its leaves are made and ordered, how many they are, the root."""

    method: str
    size: Count
    root: Sha256


class LogOpened(_Body, frozen=True, kw_only=True, tag="log_opened"):
    """The log begins. ``origin`` is the first line of its checkpoints."""

    origin: str


class KeptRows(Record, frozen=True):
    """A part whose rows holds have kept. It names their former part, the holds, and the object that proves each row
    against the root that the month had.
    """

    of_part: Number
    holds: tuple[str, ...]
    proofs: LoggedObject


class Archived(_Body, frozen=True, kw_only=True, tag="archived"):
    """A part of a month went cold. ``sums`` are decimal texts, by currency and money column.

    ``objects`` are the file with the rows and the roots of the tree's chunks. ``layout`` says how the rows are laid out
    (`ledger.month_tree.Layout`). So an entry and a row prove each other. ``adopted``: cold before the log began.
    ``kept``: the rest of the month is deleted at the same time, and these rows stay because of holds.
    """

    later: ClassVar[frozenset[str]] = frozenset({"kept"})

    table: TableName
    month: MonthName
    part: Number
    manifest: LoggedManifest
    objects: Annotated[tuple[LoggedObject, ...], Meta(min_length=1)]
    tree: LoggedTree
    rows: Count
    sums: dict[str, dict[str, str]]
    layout: dict[str, Any]
    adopted: bool = False
    kept: KeptRows | None = None


class _MonthEvent(_Body, frozen=True, kw_only=True):
    """An event of an archived month; ``part`` is None where all its parts are meant."""

    table: TableName
    month: MonthName
    part: Number | None = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)


class Reverified(_MonthEvent, frozen=True, kw_only=True, tag="reverified"):
    """The objects of a month were read again and are what the log says. ``deep``: every row, too."""

    deep: bool
    manifest_sha256: Sha256


class Restored(_MonthEvent, frozen=True, kw_only=True, tag="restored"):
    """A month was brought back into a schema for a limited time. It stays in the archive."""


class ReturnedPart(Record, frozen=True):
    """A part of a month as it was archived before it went back: its manifest, and its rows."""

    part: Number
    manifest_sha256: Sha256
    rows: Count


class Returned(_Body, frozen=True, kw_only=True, tag="returned"):
    """A month is in PostgreSQL again, to be worked on up to the UTC day ``until``. From here on ``parts`` are not what
    the month is: it is archived again later, by an event of its own.

    The objects of ``parts`` stay in the archive until the month is deleted. ``record`` is the object that says who
    asked for it, and why: the log itself names nobody.
    """

    table: TableName
    month: MonthName
    parts: Annotated[tuple[ReturnedPart, ...], Meta(min_length=1)]
    rows: Count
    until: date
    record: LoggedObject


class Deepened(_MonthEvent, frozen=True, kw_only=True, tag="deepened"):
    """The object with the rows of a part went into another storage class; None where it stays as it is. The bytes are
    the same ones.
    """

    storage_class: str | None
    manifest_sha256: Sha256


class _HoldEvent(_Body, frozen=True, kw_only=True):
    """An event of a hold, which ``hold`` names. ``record`` is the object that says who decided, why, and on whose rows:
    the log itself names nobody.
    """

    later: ClassVar[frozenset[str]] = frozenset({"last_month", "subject", "record"})

    hold: str
    table: TableName | None = None
    month: MonthName | None = None
    last_month: MonthName | None = None
    part: Number | None = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    subject: Literal["wallet", "user", "client"] | None = None
    record: LoggedObject | None = None


class Held(_HoldEvent, frozen=True, kw_only=True, tag="held"):
    """A hold keeps months, from ``month`` to ``last_month``, or rows in them, from being deleted.

    ``table`` is None for every table. ``subject`` says whose rows are kept, None for all rows.
    """


class Released(_HoldEvent, frozen=True, kw_only=True, tag="released"):
    """A hold was taken off, by two people."""


class DeletionBegun(_MonthEvent, frozen=True, kw_only=True, tag="deletion_begun"):
    """From here on the objects of ``parts`` need not exist. A request with the hash ``plan_sha256`` was approved, its
    grace period is over, and no hold keeps them. ``record`` is the order, which names the people and the objects.
    """

    parts: Annotated[tuple[Number, ...], Meta(min_length=1)]
    certificate: str
    plan_sha256: Sha256
    record: LoggedObject


class Deleted(_MonthEvent, frozen=True, kw_only=True, tag="deleted"):
    """A part of a month was deleted at the end of its retention: no version of its objects exists any more.

    ``certificate`` is the number of the certificate, ``record`` the object with it, ``page`` the same for people.
    """

    later: ClassVar[frozenset[str]] = frozenset({"certificate", "record", "page"})

    manifest_sha256: Sha256
    certificate: str | None = None
    record: LoggedObject | None = None
    page: LoggedObject | None = None


class AuditHead(Record, frozen=True):
    """The newest event of the audit chain of reconciliation."""

    event_no: Count
    hash: Sha256


class _PeriodEvent(_Body, frozen=True, kw_only=True):
    """An event of a period of reconciliation days (Africa/Johannesburg), with the head of the audit chain after it."""

    supplier: str
    first_day: date
    last_day: date
    audit_head: AuditHead


class PeriodClosed(_PeriodEvent, frozen=True, kw_only=True, tag="period_closed"):
    """Two people closed a period."""


class PeriodReopened(_PeriodEvent, frozen=True, kw_only=True, tag="period_reopened"):
    """A closed period was opened again."""


class KeyRotated(_Body, frozen=True, kw_only=True, tag="key_rotated"):
    """From this entry on the log is signed by ``new``; ``old``, empty at first, stay valid for what they signed."""

    old: VerifierKeys
    new: Annotated[VerifierKeys, Meta(min_length=1)]


class Former(Record, frozen=True):
    """The installation that a database was before."""

    installation: UUID
    incarnation: Number


class Incarnation(_Body, frozen=True, kw_only=True, tag="incarnation"):
    """A database took the place of another one (``continued``), or left with an archive of its own (``separated``)."""

    kind: Literal["continued", "separated"]
    former: Former | None


Body = (
    LogOpened
    | Archived
    | Reverified
    | Restored
    | Returned
    | Deepened
    | Held
    | Released
    | DeletionBegun
    | Deleted
    | PeriodClosed
    | PeriodReopened
    | KeyRotated
    | Incarnation
)


class Event(Record, frozen=True, kw_only=True):
    """An entry: what happened, when (UTC), and which database says so.

    ``number`` counts the events of an installation's incarnation from 1 without gaps. One that was taken away before it
    was published is missed by the next.
    """

    format: Literal["treasury-event-v1"] = "treasury-event-v1"
    installation: UUID
    incarnation: Number
    number: Number
    happened_at: Annotated[datetime, Meta(tz=True)]
    body: Body

    def to_bytes(self) -> bytes:
        """The entry: canonical JSON. Raises DataError for one that is too long, holds what JSON cannot, or has a value
        that no entry may have.
        """
        values = self._values()
        if _holds_float(values):  # an infinity, and rounding
            raise DataError(f"event {self.body.event}: a floating-point number, which is not exact: write it as text")
        try:
            content = rfc8785.dumps(values)
        except rfc8785.CanonicalizationError as error:
            raise DataError(f"event {self.body.event}: {error}") from None
        if len(content) > MOST_ENTRY_BYTES:
            raise DataError(f"event {self.body.event}: {len(content)} bytes, an entry has at most {MOST_ENTRY_BYTES}")
        self.read_own(content)
        return content

    def _values(self) -> dict[str, Any]:
        """What JSON has of the event: the time to the millisecond, and no later field without a value."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        later = self.body.later
        body = {name: value for name, value in values["body"].items() if value is not None or name not in later}
        moment = self.happened_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return values | {"body": body, "happened_at": moment}

    @classmethod
    def from_bytes(cls, entry: bytes) -> "Event":
        """Read an entry. Raises DataError naming what is wrong, also for one that is not canonical."""
        event = cls.read_own(entry)
        if event.to_bytes() != entry:
            raise DataError(f"the entry is not a {FORMAT}: it is not in canonical form")
        return event

    @classmethod
    def read_own(cls, entry: bytes) -> "Event":
        """Read an entry that `to_bytes` has made. Raises DataError naming what is wrong."""
        try:
            return _DECODER.decode(entry)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"the entry is not a {FORMAT}: {error}") from None


_DECODER = msgspec.json.Decoder(Event)


def _holds_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_float, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_float, value))
    return isinstance(value, float)


def origin_of(installation: UUID) -> str:
    """The origin of an installation's log."""
    return f"treasury/{installation}"
