"""The operations of the archive, for the one list in `api.routing.routes`."""

from functools import partial
from typing import Any

from api.abuse.addresses import Networks
from api.archive import handlers
from api.archive.months import MOST_MONTHS, ArchivedMonths, MonthOfTable
from api.routing.operations import Operation, Parameter
from config import Settings
from ledger.scopes import Scope

PREFIX = "/api/v1/archive"
_MONTH = {"type": "string", "pattern": "^(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])$"}  # `ledger.months`
_PROOF = "The answer is a file in the format `c2sp.org/tlog-proof@v1`. `treasury check-proof` checks it anywhere."
_read = partial(Operation, method="GET", scope=Scope.ARCHIVE_READ, tag="archive")


def operations(settings: Settings) -> tuple[Operation, ...]:
    """Every operation of the archive."""
    names: dict[str, Any] = {"type": "string", "enum": list(settings.registry)}
    of_table = Parameter("table", f"The table, default `{handlers.DEFAULT_TABLE}`", names)
    return (*_months(names), *_proofs(of_table), *_log(Networks(settings.log_open_to)))


def _months(names: dict[str, Any]) -> tuple[Operation, ...]:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_MONTHS, "default": handlers.DEFAULT_LIMIT}
    return (
        _read(
            name="listArchivedMonths",
            path=f"{PREFIX}/months",
            summary="List the archived months",
            description="The newest come first. Numbers of rows and sums are of all clients, as in the public log.",
            handler=handlers.list_months,
            answers={200: ArchivedMonths},
            parameters=(
                Parameter("table", "Only months of this table", names),
                Parameter("from", "Only this month or later ones", _MONTH),
                Parameter("to", "Only this month or earlier ones", _MONTH),
                Parameter("before", "Only earlier months; `next_before` of the previous page", _MONTH),
                Parameter("limit", "Maximum number of months on the page", limit),
            ),
        ),
        _read(
            name="getArchivedMonth",
            path=f"{PREFIX}/months/{{table}}/{{month}}",
            summary="Get a month of a table, with its archived parts",
            description="A month that is not archived yet has no parts, and a day from which on it is provable.",
            handler=handlers.get_month,
            answers={200: MonthOfTable},
            parameters=(
                Parameter("table", "The table", names, place="path", required=True),
                Parameter("month", "The month, UTC", _MONTH, place="path", required=True),
            ),
            problems=frozenset({404}),
        ),
    )


def _proofs(of_table: Parameter) -> tuple[Operation, ...]:
    part = {"type": "integer", "minimum": 1, "maximum": handlers.MOST_PARTS}
    wallet = {"type": "string", "minLength": 1}
    prove = partial(_read, answers={200: str}, media_type="text/plain", problems=frozenset({404, 409, 410}))
    return (
        prove(
            name="proveRow",
            path=f"{PREFIX}/proofs/rows/{{id}}",
            summary="Get the proof that a row is in the archive",
            description=f"{_PROOF} 409 says when a row of a month that is not archived yet becomes provable. 410 names "
            "the certificate of a month that was deleted, also where legal holds keep other rows of it.",
            handler=handlers.prove_row,
            parameters=(of_table,),
        ),
        prove(
            name="proveStatement",
            path=f"{PREFIX}/proofs/statements",
            summary="Get the proof of all rows of a wallet in a month",
            description=f"{_PROOF} It shows these rows, and that there are no others. For a part without rows of the "
            "wallet the file proves their absence; it names two other wallets, and requires the scope `read:all`. "
            "409 says when all parts of the month are archived. 410 names the certificate of a month that was deleted, "
            "also where legal holds keep some of its rows.",
            handler=handlers.prove_statement,
            parameters=(
                Parameter("wallet_id", "The wallet", wallet, required=True),
                Parameter("month", "The month, UTC", _MONTH, required=True),
                of_table,
                Parameter("part", "The part of the month; required where rows came late and it has several", part),
            ),
        ),
    )


def _log(open_to: Networks) -> tuple[Operation, ...]:
    """The log as any client of https://c2sp.org/tlog-tiles reads it, with `/log` as its prefix."""
    read = partial(_read, open_to=open_to, problems=frozenset({404}))
    tile = {"type": "string", "examples": ["0/000", "entries/x001/234.p/7"]}
    return (
        read(
            name="getLogCheckpoint",
            path="/log/checkpoint",
            summary="Get the signed checkpoint of the public log",
            description="A signed note by `c2sp.org/tlog-checkpoint`.",
            handler=handlers.checkpoint,
            answers={200: str},
            media_type="text/plain",
        ),
        read(
            name="getLogTile",
            path="/log/tile/{tile:path}",
            summary="Get a tile, or a bundle of entries, of the public log",
            description="By `c2sp.org/tlog-tiles`: `<level>/<number>` or `entries/<number>`, with `.p/<width>` for a "
            "partial one. They never change.",
            handler=handlers.tile,
            answers={200: bytes},
            parameters=(Parameter("tile", "The tile's name", tile, place="path", required=True),),
            media_type="application/octet-stream",
        ),
    )
