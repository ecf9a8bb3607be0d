"""Two rows of ten years ago that are imported from a file, into either table."""

from datetime import UTC, datetime
from pathlib import Path

from ledger.tables import VAS_TRANSACTIONS
from tasks.importing import mapping_text as text
from tasks.importing.mapping_text import column, constant
from tasks.importing.run import ImportReport, ImportRequest, import_file
from tests.tasks.archiving.ledger import Ledger

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FIELDS = {
    "client_id": constant("shop"),
    "user_id": column("wallet"),
    "wallet_id": column("wallet"),
    "status": constant("completed"),
    "amount": column("amount"),
    "currency": constant("ZAR"),
    "reference": column("no"),
    "created_at": column("at", format="%Y-%m-%d"),
}
PAYMENTS = text.mapping_text("shop", "transactions", ["no"], FIELDS | {"type": constant("payment")})
VENDS = text.mapping_text(
    "shop",
    VAS_TRANSACTIONS.name,
    ["no"],
    FIELDS | {"type": constant("payment"), "vas_type": constant("airtime"), "supplier": constant("flash")},
)
CSV = "no,wallet,amount,at\nREF-1,wallet-3,10.00,2014-02-03\nREF-2,wallet-9,20.00,2014-02-04\n"


def load(ledger: Ledger, folder: Path, mapping: str = PAYMENTS) -> ImportReport:
    """Import the two rows, by a mapping."""
    file, mapping_file = folder / "history.csv", folder / "mapping.toml"
    file.write_text(CSV)
    mapping_file.write_text(mapping)
    return import_file(ledger.settings, ImportRequest(file, mapping_file), lambda *_: None, NOW)
