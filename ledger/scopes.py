"""The permissions of an API key. One place: the API demands from it, keys are made from it, `treasury key create` lists
it.
"""

from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
    """A permission of a key. ``READ_ALL`` widens reading to the rows of every client; it grants nothing by itself."""

    TRANSACTIONS_READ = "transactions:read"
    TRANSACTIONS_WRITE = "transactions:write"
    VAS_READ = "vas:read"
    VAS_WRITE = "vas:write"
    READ_ALL = "read:all"
    ARCHIVE_READ = "archive:read"
    RECONCILIATION_READ = "reconciliation:read"
    RECONCILIATION_RESOLVE = "reconciliation:resolve"
    MONITORING_READ = "monitoring:read"
    OPERATIONS = "operations"
    ARCHIVE_HOLDS = "archive:holds"


# What each scope allows, for people.
ALLOWS: Mapping[Scope, str] = {
    Scope.TRANSACTIONS_READ: "read the client's transactions",
    Scope.TRANSACTIONS_WRITE: "store transactions, change their status",
    Scope.VAS_READ: "read the client's VAS transactions",
    Scope.VAS_WRITE: "store and buy VAS transactions, change their status",
    Scope.READ_ALL: "with a read scope: read the rows of all clients",
    Scope.ARCHIVE_READ: "read archived months, the public log, and proofs of the client's rows",
    Scope.RECONCILIATION_READ: "read runs, breaks and periods",
    Scope.RECONCILIATION_RESOLVE: "decide on breaks, close periods",
    Scope.MONITORING_READ: "read /metrics and all monitoring pages",
    Scope.OPERATIONS: "acknowledge alerts, clear the cache",
    Scope.ARCHIVE_HOLDS: "place, list and release legal holds",
}

# The scopes of an application's key by default.
CLIENT_SCOPES = (Scope.TRANSACTIONS_READ, Scope.TRANSACTIONS_WRITE, Scope.VAS_READ, Scope.VAS_WRITE)
