"""`treasury prove`: make proof files from the archive. `cli.proof_checks` checks them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.output_file import whole_file
from cli.session import session
from ledger.errors import ConfigError
from ledger.months import Month
from tasks.proving.proofs import ProofFile, Prover

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME = 64

TABLE = Annotated[str, typer.Option(help="The table")]
OUTPUT = Annotated[
    Path | None, typer.Option("--output", "-o", help="The proof file; default: a name of its own in this folder")
]
MONTH = Annotated[str, typer.Argument(help="An archived month, YYYY-MM")]


def prove_row(
    row_id: Annotated[str, typer.Argument(metavar="ID", help="The row's id")],
    table: TABLE = "transactions",
    output: OUTPUT = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a row is in the archive, as it was archived.

    Examples:
      treasury prove row 018e22e3-19db-7b2b-aa7f-46c78a4f2d37
    """
    key = _uuid(row_id)
    with session("s3") as settings, terminal.working("proving"), Prover(settings) as prover:
        file = prover.row(settings.table(table), key)
    _write([file], f"row-{key}", output, as_json=as_json)


def prove_statement(
    wallet: Annotated[str, typer.Argument(help="A wallet: a value of the first column that the archive is sorted by")],
    month: MONTH,
    table: TABLE = "transactions",
    output: OUTPUT = None,
    as_json: AsJson = False,
) -> None:
    """Prove all rows of a wallet in a month, and that there are no others.

    A month with rows that came late has several parts, and a proof file for each.

    Examples:
      treasury prove statement wlt_00000010 2024-03
    """
    with session("s3") as settings, terminal.working("proving"), Prover(settings) as prover:
        files = prover.statement(settings.table(table), wallet, Month.parse(month))
    _write(files, f"statement-{_name_of(wallet)}", output, as_json=as_json)


def prove_absence(
    wallet: Annotated[str, typer.Argument(help="A wallet: a value of the first column that the archive is sorted by")],
    month: Annotated[str | None, typer.Argument(help="An archived month, YYYY-MM; leave it out with --id")] = None,
    row_id: Annotated[str | None, typer.Option("--id", help="Prove that the wallet has no row with this id")] = None,
    table: TABLE = "transactions",
    output: OUTPUT = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a wallet has no rows in a month, or no row with an id.

    Examples:
      treasury prove absence wlt_00000010 2024-03
      treasury prove absence wlt_00000010 --id 018e22e3-19db-7b2b-aa7f-46c78a4f2d37
    """
    if (month is None) == (row_id is None):
        raise ConfigError("give a month or --id, and not both")
    with session("s3") as settings, terminal.working("proving"), Prover(settings) as prover:
        if row_id is not None:
            files = prover.absence_of_row(settings.table(table), wallet, _uuid(row_id))
        else:
            files = prover.absence(settings.table(table), wallet, Month.parse(month or ""))
    _write(files, f"absence-{_name_of(wallet)}", output, as_json=as_json)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not an id") from None


def _name_of(wallet: str) -> str:
    """A wallet as part of a file's name."""
    return _UNSAFE.sub("_", wallet)[:_LONGEST_NAME] or "_"


def _write(files: Sequence[ProofFile], name: str, output: Path | None, *, as_json: bool) -> None:
    written: list[Path] = []
    for file in files:
        part = "" if file.part == 1 else f"-part-{file.part}"
        path = output or Path(f"{file.table}-{file.month}-{name}{part}.tlog-proof")
        if output is not None and part:
            path = output.with_name(f"{output.stem}{part}{output.suffix}")
        with whole_file(path) as target:
            target.write(file.content)
        written.append(path)
    if as_json:
        facts = [(str(path), file.table, file.month, file.part) for path, file in zip(written, files, strict=True)]
        write_json([dict(zip(("file", "table", "month", "part"), values, strict=True)) for values in facts])
        return
    for path in written:
        typer.echo(str(path))
    terminal.next_step(f"check it anywhere with `treasury check-proof {written[0]} --policy FILE`")
