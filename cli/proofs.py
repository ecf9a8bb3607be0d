"""`treasury prove` and `check-proof`: make proof files from the archive, and check them anywhere."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from cli.output_file import whole_file
from cli.session import session
from ledger.canonical import NULL_MARK
from ledger.errors import ConfigError, NotFoundError
from ledger.months import Month
from ledger.proof_files import CheckedProof
from ledger.proof_files import check_proof as check_file
from ledger.transparency.policies import Policy
from tasks.proving.proofs import ProofFile, Prover

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME = 64
_MOST_BYTES = 1 << 30

TABLE = Annotated[str, typer.Option(help="The table")]
OUTPUT = Annotated[
    Path | None, typer.Option("--output", "-o", help="The proof file; default: a name of its own in this folder")
]
MONTH = Annotated[str, typer.Argument(help="An archived month, YYYY-MM")]


def prove_row(
    row_id: Annotated[str, typer.Argument(metavar="ID", help="The row's id")],
    table: TABLE = "transactions",
    output: OUTPUT = None,
) -> None:
    """Prove that a row is in the archive, as it was archived."""
    key = _uuid(row_id)
    with session("s3") as settings, Prover(settings) as prover:
        file = prover.row(settings.table(table), key)
    _write([file], f"row-{key}", output)


def prove_statement(
    wallet: Annotated[str, typer.Argument(help="A wallet: a value of the first column that the archive is sorted by")],
    month: MONTH,
    table: TABLE = "transactions",
    output: OUTPUT = None,
) -> None:
    """Prove all rows of a wallet in a month, and that there are no others.

    A month with rows that came late has several parts, and a proof file for each.
    """
    with session("s3") as settings, Prover(settings) as prover:
        files = prover.statement(settings.table(table), wallet, Month.parse(month))
    _write(files, f"statement-{_name_of(wallet)}", output)


def prove_absence(
    wallet: Annotated[str, typer.Argument(help="A wallet: a value of the first column that the archive is sorted by")],
    month: Annotated[str | None, typer.Argument(help="An archived month, YYYY-MM; with --id the id tells it")] = None,
    row_id: Annotated[str | None, typer.Option("--id", help="Prove that the wallet has no row with this id")] = None,
    table: TABLE = "transactions",
    output: OUTPUT = None,
) -> None:
    """Prove that a wallet has no rows in a month, or no row with an id."""
    if (month is None) == (row_id is None):
        raise ConfigError("give a month or --id, and not both")
    with session("s3") as settings, Prover(settings) as prover:
        if row_id is not None:
            files = prover.absence_of_row(settings.table(table), wallet, _uuid(row_id))
        else:
            files = prover.absence(settings.table(table), wallet, Month.parse(month or ""))
    _write(files, f"absence-{_name_of(wallet)}", output)


def check_proof(
    file: Annotated[Path, typer.Argument(help="A proof file")],
    policy: Annotated[Path, typer.Option(help="The policy: the logs, and the witnesses, that you trust")],
    as_json: Annotated[bool, typer.Option("--json", help="Write what is proved as JSON, for programs")] = False,
) -> None:
    """Check a proof file. Needs no database, no archive and no network.

    Exit code 65 means that the proof does not hold.
    """
    checked = check_file(_read(file), Policy.parse(_read(policy)))
    if as_json:
        typer.echo(json.dumps(_as_json(checked), indent=1))
        return
    month = checked.archived
    typer.echo(f"proved: {checked.proved.sentence} ({month.table} {month.month}, part {month.part})")
    for row in checked.proved.rows:
        typer.echo(f"  {json.dumps(_values(row), ensure_ascii=False)}")
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
        "rows": [_values(row) for row in checked.proved.rows],
        "log": {"origin": checked.checkpoint.origin, "size": checked.checkpoint.size, "entry": checked.index},
    }


def _values(row: Mapping[str, str]) -> dict[str, str | None]:
    """The fields of a row; NULL as null. Times and dates stay numbers since 1970, as the row's text has them."""
    return {name: None if field == NULL_MARK else field for name, field in row.items()}


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not an id") from None


def _name_of(wallet: str) -> str:
    """A wallet as part of a file's name."""
    return _UNSAFE.sub("_", wallet)[:_LONGEST_NAME] or "_"


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: more than {_MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}") from None


def _write(files: Sequence[ProofFile], name: str, output: Path | None) -> None:
    for file in files:
        part = "" if file.part == 1 else f"-part-{file.part}"
        path = output or Path(f"{file.table}-{file.month}-{name}{part}.tlog-proof")
        if output is not None and part:
            path = output.with_name(f"{output.stem}{part}{output.suffix}")
        with whole_file(path) as target:
            target.write(file.content)
        typer.echo(str(path))
