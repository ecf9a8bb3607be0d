"""The audit kit: a zip file with the log, its keys, manifests and trees, and a verifier that shares no code with this.

Reads the archive and changes nothing.
"""

import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from config import Settings
from ledger.errors import ConfigError, NotFoundError, VerificationError
from ledger.transparency.policies import LogPolicy
from sql.connection import Connection
from storage.store import ObjectStore
from tasks.verifying.findings import VerificationReport
from tasks.verifying.gone_months import certificate_keys, gone_months
from tasks.verifying.known_log import KnownLog, know_log
from tasks.verifying.log_verification import LogVerification
from tasks.verifying.verification import VerificationScope
from tasks.verifying.verified_log import ExpectedMonth, VerifiedLog

_EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
VERIFIER = "verify_kit.py"
_README = """\
# Audit kit

Made {made_at} UTC from {url}, of the log {origin} with {size} entries.

    python3 -m venv venv
    venv/bin/pip install "cryptography>=48"
    venv/bin/python verify_kit.py

verifies the log's signatures, tree, tiles, events and indexes, and the manifest and the tree of each month.
It prints one line for each thing, and ends with 1 if something is wrong.

- Compare the file `policy` with the keys that a person gave you: whoever made this kit could have made the keys, too.
  `venv/bin/python verify_kit.py --policy YOURS` uses yours.
- Keep `log/checkpoint`. A later kit must continue it: `venv/bin/python verify_kit.py --before KEPT` checks that.
- With a copy of the bucket beside it, `venv/bin/python verify_kit.py --data COPY` reads the objects with rows.
  `--deep`, with pyarrow, decodes every row.
- `venv/bin/python verify_kit.py --proof FILE` checks a proof file.
"""


def write_kit(
    settings: Settings,
    target: IO[bytes],
    scope: VerificationScope,
    connection: Connection | None,
    policy: tuple[LogPolicy, bytes],
) -> tuple[int, int]:
    """Write the kit; returns how many entries and parts of months are in it. ``policy`` is the file for the kit.

    Raises VerificationError naming what is wrong with the log, NotFoundError for a month whose objects are gone.
    """
    verifier = _EXAMPLES / VERIFIER
    if not verifier.is_file():
        raise ConfigError(f"{verifier} is not there: the kit needs the folder `examples` of the project")
    store = ObjectStore(settings)
    known = know_log(settings, store, connection, policy[0])
    if known is None:
        raise NotFoundError("no log was published yet: run `treasury log publish` after the first archived month")
    report, log = _log(store, known)
    months = log.months
    scope.require_any([*months, *log.returned, *gone_months(log.gone)])
    certificates = certificate_keys(log.gone)
    wanted = [month for month in months if scope.includes(month)]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as kit:
        for key in store.keys(known.folder):
            kit.writestr(f"log/{key.removeprefix(f'{known.folder}/')}", store.read_bytes(key))
        for month in wanted:
            _add_month(kit, store, month)
        for key in certificates:
            _add(kit, store, key, "a certificate of deletion")
        made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        text = _README.format(made_at=made_at, url=store.url, origin=known.origin, size=report.size)
        kit.writestr("README.md", text)
        kit.writestr("policy", policy[1])
        kit.writestr("kit.json", _contents(wanted, is_all=len(wanted) == len(months)))
        kit.write(verifier, VERIFIER)
    return report.size, len(wanted)


def _log(store: ObjectStore, known: KnownLog) -> tuple[VerificationReport, VerifiedLog]:
    report = VerificationReport()
    log = LogVerification(store, known, store.sizes(known.folder), report).run(None, [])
    if report.findings:
        raise VerificationError("; ".join(map(str, report.findings)))
    return report, log


def _add_month(kit: zipfile.ZipFile, store: ObjectStore, month: ExpectedMonth) -> None:
    """The objects of a month beside the file with its rows: manifest, tree, and the proofs of rows that a hold kept."""
    for key in (month.manifest.key, *(stored.key for stored in month.objects[1:])):
        _add(kit, store, key, f"{month.table} {month.month}")


def _add(kit: zipfile.ZipFile, store: ObjectStore, key: str, what: str) -> None:
    content = store.find_bytes(key)
    if content is None:
        raise NotFoundError(f"{what}: {key} is missing from the archive")
    kit.writestr(key, content)


def _contents(wanted: Sequence[ExpectedMonth], *, is_all: bool) -> str:
    months = None if is_all else sorted({month.month for month in wanted})
    return json.dumps({"format": "treasury-kit-v1", "months": months}, indent=1)
