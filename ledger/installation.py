"""The installation: which database an archive belongs to. One prefix of a bucket has one installation as its writer."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a database, which its copies do not have, as PostgreSQL knows it.

    ``system_identifier`` is that of the server's data directory, None where the role may not read it. A physical
    standby has the same two values as its primary. A restored dump, a copy by template and an upgraded server have
    others.
    """

    system_identifier: str | None
    database_oid: int

    def is_same(self, other: "Identity") -> bool:
        """Return whether both may be one database. An identifier that one of them lacks decides nothing."""
        known = {identity.system_identifier for identity in (self, other)} - {None}
        return self.database_oid == other.database_oid and len(known) < 2

    def __str__(self) -> str:
        return f"database {self.database_oid} of server {self.system_identifier or '(not readable)'}"


@dataclass(frozen=True, slots=True)
class Installation:
    """The row of the catalogue: the identity of this database, and what it last wrote into the archive's marker.

    ``tokens`` are the values that the marker may have if nobody else wrote it. They are the last one confirmed, and
    those that were about to be written. ``location`` is the archive's URL at the last confirmation, None before the
    first.
    """

    installation_id: UUID
    incarnation: int
    identity: Identity
    tokens: tuple[UUID, ...]
    location: str | None
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Owner:
    """The installation that a piece of work writes for; its id is in keys, manifests and upload records."""

    installation_id: UUID
    incarnation: int

    @property
    def short(self) -> str:
        """The first 8 hexadecimal digits of the id, as in keys."""
        return self.installation_id.hex[:8]
