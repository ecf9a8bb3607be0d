"""`treasury check-proof`: check a proof file, with the file and a policy alone.

Imports neither the settings nor a driver, so that a check takes little more than the start of the interpreter.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.canonical import readable
from ledger.errors import ConfigError, NotFoundError
from ledger.month_tree import Layout
from ledger.proof_files import MOST_BYTES, CheckedProof
from ledger.proof_files import check_proof as check_file
from ledger.transparency.policies import LogPolicy


def check_proof(
    file: Annotated[Path, typer.Argument(help="A proof file")],
    policy: Annotated[Path, typer.Option(help="The policy: the logs, and the witnesses, that you trust")],
    as_json: Annotated[bool, typer.Option("--json", help="Write what is proved as JSON, for programs")] = False,
) -> None:
    """Check a proof file. Needs no database, no archive and no network.

    Exit code 65 means that the proof does not hold.
    """
    checked = check_file(_read(file), LogPolicy.parse(_read(policy)))
    if as_json:
        typer.echo(json.dumps(_as_json(checked), indent=1))
        return
    month = checked.archived
    typer.echo(f"proved: {checked.proved.sentence} ({month.table} {month.month}, part {month.part})")
    for row in checked.proved.rows:
        typer.echo(f"  {json.dumps(_values(checked.layout, row), ensure_ascii=False)}")
    log = checked.checkpoint
    typer.echo(f"by entry {checked.index} of the log {log.origin} of {log.size} entries")
    typer.echo(f"archived {checked.event.happened_at:%Y-%m-%d %H:%M:%S} UTC")


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
