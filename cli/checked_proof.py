"""What `treasury check-proof` prints: a proof file checked with a policy, for people and for programs.

Imports neither typer nor the settings nor a driver, so that a check takes little more than the start of the interpreter
(`cli.start`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.terminal import visible
from ledger.canonical import readable
from ledger.errors import ConfigError, NotFoundError
from ledger.month_tree import Layout
from ledger.proof_files import MOST_BYTES, CheckedProof, check_proof
from ledger.transparency.policies import LogPolicy


def describe_checked(file: Path, policy: Path, *, as_json: bool) -> str:
    """Check a proof file; returns what it proves, in lines. Raises VerificationError for a proof that does not hold."""
    checked = check_proof(_read(file), LogPolicy.parse(_read(policy)))
    lines = [json.dumps(_as_json(checked), indent=1)] if as_json else _for_people(checked)
    return "".join(f"{line}\n" for line in lines)


def _for_people(checked: CheckedProof) -> list[str]:
    month, log = checked.archived, checked.checkpoint
    return [
        f"proved: {visible(checked.proved.sentence)} ({month.table} {month.month}, part {month.part})",
        *(f"  {visible(json.dumps(_values(checked.layout, row), ensure_ascii=False))}" for row in checked.proved.rows),
        f"by entry {checked.index} of the log {log.origin} of {log.size} entries",
        f"archived {checked.event.happened_at:%Y-%m-%d %H:%M:%S} UTC",
    ]


def _as_json(checked: CheckedProof) -> dict[str, Any]:
    month = checked.archived
    return {
        "proved": checked.proved.sentence,
        "table": month.table,
        "month": month.month,
        "part": month.part,
        "rows": [_values(checked.layout, row) for row in checked.proved.rows],
        "log": {"origin": checked.checkpoint.origin, "size": checked.checkpoint.size, "entry": checked.index},
    }


def _values(layout: Layout, row: Mapping[str, str]) -> dict[str, str | None]:
    """The fields of a row as the API shows them: NULL as null, times and dates as text."""
    return {name: readable(layout.column(name), field) for name, field in row.items()}


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: more than {MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}") from None
