"""`treasury verify`: verify the archive and its public log, from the bucket alone or with a database."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.output_file import whole_file
from cli.recon.verification import verify_reconciliation
from cli.session import servers, session
from config import Settings, load_settings
from ledger.errors import ConfigError, DataError, VerificationError
from ledger.months import Month
from ledger.transparency.policies import LogPolicy
from sql.connection import Connection, connect
from tasks.alerting.runbooks import runbook
from tasks.proving.audit_kit import write_kit
from tasks.transparency.report import policy_text
from tasks.verifying.findings import VerificationReport
from tasks.verifying.reverification import DAMAGED
from tasks.verifying.verification import VerificationScope, verify_archive

_SPAN = re.compile(r"(\d{4}-\d{2})(?:\.\.(\d{4}-\d{2}))?")


def verify(
    table: Annotated[str | None, typer.Option(help="Verify the months of this table only")] = None,
    months: Annotated[str | None, typer.Option(help="Verify these months only: YYYY-MM or FIRST..LAST")] = None,
    deep: Annotated[bool, typer.Option(help="Decode every row, and compute sums and tree again")] = False,
    sample: Annotated[
        int | None, typer.Option(min=0, help="Read the objects of so many months, chosen at random; look at the others")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="The policy: the log's keys, and witnesses, that you trust")
    ] = None,
    bucket_alone: Annotated[bool, typer.Option(help="Ask no database, also where there is one")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON, for programs")] = False,
) -> None:
    """Verify the archive and its public log.

    Reads the archive alone; where a database is there, it is compared, and reconciliation is verified, too. Exit code
    65 means that something is wrong: all of it is named.

    Examples:
      treasury verify --months 2024-01..2024-12 --deep
      treasury verify --bucket-alone --policy policy --json
    """
    first, last = _span(months)
    scope = VerificationScope(table, first, last, deep=deep, sample=sample)
    trusted = None if policy is None else read_policy(policy)
    lines: list[str] = []
    with _opened(bucket_alone=bucket_alone) as (settings, connection), terminal.working("verifying the archive"):
        report = verify_archive(settings, scope, connection, trusted)
        if connection is not None:
            try:
                lines = verify_reconciliation(settings, connection).lines
            except DataError as error:
                report.add("reconciliation", str(error))
    _show(report, lines, as_json=as_json)
    if report.findings:
        if not as_json:
            terminal.next_step(f"restore nothing and delete nothing; follow {runbook(settings, DAMAGED)}")
        count = len(report.findings)
        counted = "1 thing is" if count == 1 else f"{count} things are"
        raise VerificationError(f"{counted} wrong in the archive; each line that begins with WRONG names one")


@contextmanager
def _opened(*, bucket_alone: bool) -> Iterator[tuple[Settings, Connection | None]]:
    """The settings, and a connection where a database is there."""
    settings = load_settings()
    is_there = (
        settings.database_url is not None or settings.archive_url is None or (settings.home / "postgres").exists()
    )
    if bucket_alone or not is_there:
        with servers("s3") as ready:
            yield ready, None
        return
    with session("s3") as ready, connect(ready.database_dsn, "verify") as connection:
        yield ready, connection


def _span(months: str | None) -> tuple[Month | None, Month | None]:
    if months is None:
        return None, None
    match = _SPAN.fullmatch(months)
    if match is None:
        raise ConfigError("--months: must be YYYY-MM or YYYY-MM..YYYY-MM")
    first = Month.parse(match[1])
    last = Month.parse(match[2]) if match[2] else first
    if last < first:
        raise ConfigError("--months: the last month is before the first")
    return first, last


def _read_policy(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--policy: {path}: {error.strerror}") from None


def read_policy(path: Path) -> LogPolicy:
    """The policy in a file. Raises ConfigError naming the file."""
    try:
        return LogPolicy.parse(_read_policy(path))
    except VerificationError as error:
        raise ConfigError(f"--policy: {path}: {error}") from None


def _show(report: VerificationReport, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        content = {
            "origin": report.origin,
            "size": report.size,
            "counts": dict(sorted(report.counts.items())),
            "findings": [{"place": finding.place, "text": finding.text} for finding in report.findings],
            "notes": report.notes,
            "reconciliation": lines,
        }
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    for finding in report.findings:
        typer.echo(terminal.visible(f"WRONG {finding}"))
    counted = ", ".join(f"{count} {name}" for name, count in sorted(report.counts.items()))
    typer.echo(f"log: {report.origin or 'not verified'}, {report.size} entries")
    typer.echo(f"verified: {counted or 'nothing was archived yet'}")
    for line in lines:
        typer.echo(terminal.visible(line))
    for note in report.notes:
        terminal.note(note)


def audit_kit(
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip file")] = Path("kit.zip"),
    months: Annotated[str | None, typer.Option(help="Manifests of these months only: YYYY-MM or FIRST..LAST")] = None,
    policy: Annotated[Path | None, typer.Option(help="The policy for the kit; default: the log's present keys")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what an auditor needs to verify the archive elsewhere.

    The log, its keys, the manifests and trees, and a verifier of one file that needs Python and `cryptography` only.

    Examples:
      treasury audit-kit --output kit.zip
      treasury audit-kit --months 2024-01..2024-12 --policy policy
    """
    first, last = _span(months)
    with _opened(bucket_alone=False) as (settings, connection):
        if policy is None and connection is None:
            raise ConfigError("--policy: must name the log's keys, because there is no database that knows them")
        content = policy_text(settings).encode() if policy is None else _read_policy(policy)
        trusted = LogPolicy.parse(content) if policy is None else read_policy(policy)
        with whole_file(output) as target, terminal.working("packing the kit"):
            size, parts = write_kit(
                settings, target, VerificationScope(None, first, last), connection, (trusted, content)
            )
    if as_json:
        write_json({"file": str(output), "entries": size, "parts": parts})
        return
    typer.echo(f"{output}: {size} entries of the log, {parts} parts of months")
    terminal.next_step("let the auditor unpack it and follow its README, with a policy from you")
