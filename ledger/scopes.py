"""What an API key may do. One place: the API demands from it, keys are made from it, `treasury key create` lists it."""

from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do. ``READ_ALL`` widens reading to the rows of every client; it grants nothing by itself."""

    TRANSACTIONS_READ = "transactions:read"
    TRANSACTIONS_WRITE = "transactions:write"
    VAS_READ = "vas:read"
    VAS_WRITE = "vas:write"
    READ_ALL = "read:all"
    RECONCILIATION_READ = "reconciliation:read"
    RECONCILIATION_RESOLVE = "reconciliation:resolve"
    MONITORING_READ = "monitoring:read"
    OPERATIONS = "operations"


# What each allows, for people.
ALLOWS: Mapping[Scope, str] = {
    Scope.TRANSACTIONS_READ: "read the client's transactions",
    Scope.TRANSACTIONS_WRITE: "store transactions, move their status",
    Scope.VAS_READ: "read the client's VAS transactions",
    Scope.VAS_WRITE: "store VAS transactions, buy them, move their status",
    Scope.READ_ALL: "beside a read scope: the rows of every client",
    Scope.RECONCILIATION_READ: "see runs, breaks and periods",
    Scope.RECONCILIATION_RESOLVE: "decide about breaks, close periods",
    Scope.MONITORING_READ: "/metrics and all of monitoring that only reads",
    Scope.OPERATIONS: "acknowledge alerts, forget cached answers",
}

# What an application's key has unless told otherwise.
CLIENT_SCOPES = (Scope.TRANSACTIONS_READ, Scope.TRANSACTIONS_WRITE, Scope.VAS_READ, Scope.VAS_WRITE)
