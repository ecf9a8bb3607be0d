"""A run computed again: from its own statement, superseded or not, its own rules, what lay before it, and the internal
rows.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config import Settings
from config.reconciliation import ReconciliationSettings
from ledger.errors import ConfigError, NotFoundError, VerificationError
from storage.spool import spool_folder
from storage.store import ObjectStore, describe_file
from tasks.reconciliation.casework.lists import RunRecord, get_run
from tasks.reconciliation.engine.tieout import FloatMovement
from tasks.reconciliation.runs.before import Before
from tasks.reconciliation.runs.outcome import computed
from tasks.reconciliation.runs.report import JSON_REPORT, returned_to, write_reports
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.statements import fetch_statement

_STORED = ("objects", "inputs", "statement")  # figures about what was stored, not of what was found
_MOST = 50


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay. ``differences`` is empty when it is the same; at most 50 are shown, one a line."""

    run_id: int
    recorded: str
    digest: str
    differences: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether the replay gives the digest that was written down."""
        return self.digest == self.recorded


def replay_run(settings: Settings, run_id: int) -> Replay:
    """Compute the run again and compare. Writes nothing, keeps nobody out, and takes days of closed periods too.

    Raises NotFoundError for an unknown run. Raises ConfigError for one whose inputs are no longer kept, or which was
    made under rules that this version does not know. Raises VerificationError when the statement or the inputs are not
    those that the run had. Raises DataError when one is gone from the archive.
    """
    record = get_run(settings, run_id)
    if record is None:
        raise NotFoundError(f"run {run_id} does not exist")
    if "inputs" not in record.figures:
        raise ConfigError(f"run {run_id}: was made before inputs were kept, and cannot be replayed")
    with spool_folder(settings.spool, "replay") as folder:
        inputs = _inputs(settings, record)
        request = RunRequest(
            record.supplier,
            record.day,
            str(_statement(settings, record, folder)),
            movement=FloatMovement.model_validate(inputs["movement"]) if inputs["movement"] else None,
            dry_run=True,
        )
        before = Before.from_json(inputs["before"])
        with computed(_as_then(settings, record), request, before, folder) as (duck, summary):
            write_reports(duck, summary, folder, returned_to(settings.suppliers, request.supplier))
        differences: tuple[str, ...] = ()
        if summary.digest != record.digest.hex():
            changed = [*_of_figures(record, summary.figures, summary.verdict), *_of_breaks(settings, record, folder)]
            differences = tuple(changed[:_MOST]) or ("what differs is in none of the figures and in no break",)
    return Replay(run_id, record.digest.hex(), summary.digest, differences)


def _inputs(settings: Settings, record: RunRecord) -> dict[str, Any]:
    """Return what lay before the run, as it was stored."""
    inputs_object = record.figures["inputs"]
    content = ObjectStore(settings).read_bytes(inputs_object["key"])
    if hashlib.sha256(content).hexdigest() != inputs_object["sha256"]:
        raise VerificationError(f"run {record.run_id}: {inputs_object['key']} was changed")
    inputs: dict[str, Any] = json.loads(content)
    return inputs


def _statement(settings: Settings, record: RunRecord, folder: Path) -> Path:
    """The very statement that the run had."""
    stored = record.figures["statement"]
    path = fetch_statement(settings, stored["key"], folder)
    if describe_file(path).sha256.hex() != stored["sha256"]:
        raise VerificationError(f"run {record.run_id}: {stored['key']} was changed")
    return path


def _as_then(settings: Settings, record: RunRecord) -> Settings:
    """The settings under the rules of the run."""
    rules = dict(record.rules)
    commission = {name: Decimal(rate) for name, rate in rules.pop("commission").items()}
    try:
        figures = ReconciliationSettings.model_validate(rules | {"memory_mb": settings.reconciliation.memory_mb})
    except ValidationError as error:
        named = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors())
        raise ConfigError(f"run {record.run_id}: its rules are not of this version: {named}") from error
    contract = getattr(settings.suppliers, record.supplier).model_copy(update={"commission": commission})
    suppliers = settings.suppliers.model_copy(update={record.supplier: contract})
    return settings.model_copy(update={"reconciliation": figures, "suppliers": suppliers})


def _of_figures(record: RunRecord, now: Mapping[str, Any], verdict: str) -> Iterator[str]:
    then, again = (dict(_flat(figures)) for figures in (record.figures, now))
    if verdict != record.verdict:
        yield f"verdict: was {record.verdict}, is {verdict}"
    for name in sorted(then.keys() | again.keys()):
        if then.get(name) != again.get(name):
            yield f"{name}: was {then.get(name, 'not there')}, is {again.get(name, 'not there')}"


def _flat(figures: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure with its path, such as ``currencies.ZAR.own.value``."""
    if not isinstance(figures, Mapping):
        yield name, figures
        return
    for key, value in figures.items():
        if name or key not in _STORED:
            yield from _flat(value, f"{name}.{key}" if name else key)


def _of_breaks(settings: Settings, record: RunRecord, folder: Path) -> Iterator[str]:
    stored = ObjectStore(settings).read_bytes(f"{record.object_prefix}/{JSON_REPORT}")
    then, again = (_breaks(content) for content in (stored, (folder / JSON_REPORT).read_bytes()))
    yield from (f"break that is not found again: {break_text}" for break_text in sorted((then - again).elements()))
    yield from (f"break that was not found then: {break_text}" for break_text in sorted((again - then).elements()))


def _breaks(report: bytes) -> Counter[str]:
    """The breaks of a report as texts, without their numbers and what is empty."""
    rows = json.loads(report)["breaks"]
    return Counter(
        ", ".join(f"{name} {value}" for name, value in row.items() if name != "no" and value not in (None, ""))
        for row in rows
    )
