"""The deletion of months: what people approved, month by month, in steps that a later run completes after any kill.

One transaction takes a month's rows out of the views, after the last look at request, plan and holds. From its commit
on the deletion cannot be taken back, and every later run goes on with it. The run publishes the log, deletes every
version of every object and proves that each is gone. Only then it writes the certificate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from config import Settings
from ledger.errors import ConflictError, DataError, RefusalError, TransientError, TreasuryError
from ledger.holds import Hold, holds_on
from ledger.installation import Owner
from ledger.months import Month
from ledger.people import SYSTEM
from ledger.retention import DoomedMonth
from ledger.transparency.events import Deleted, DeletionBegun, LoggedObject, logged
from sql.archive_objects import objects_of_month
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.deletion_requests import DeletionRequest, RequestState, add_decision, get_request, list_requests, lock_requests
from sql.deletions import (
    Deletion,
    DoomedObject,
    MonthPart,
    add_deletion,
    add_kept_part,
    begin_parts,
    certify,
    deletion_lock,
    doomed_objects,
    finish,
    get_deletion,
    leftovers,
    manifests,
    mark_removed,
    mark_upload_removed,
    mark_wholly_held,
    month_parts,
    newest_part,
    next_number,
    note_error,
    note_versions,
    removed_uploads,
    unfinished,
    unused_copies,
    uploads_of_month,
)
from sql.holds import lock_holds, open_holds
from sql.locks import forget_locks, placed_holds
from sql.log import archived_part, record_event
from sql.lookups import add_lookup
from sql.maintenance import run_ddl
from sql.returns import begin_removal, has_former_objects
from storage.layout import CERTIFICATES, ORDERS, data_folder, manifest_folder, tree_folder
from storage.object_cache import ObjectCache
from storage.store import ObjectStore, StoredFile
from storage.versions import KeptVersionError, VersionedStore
from tasks.archiving.month_lock import month_lock
from tasks.archiving.ownership import check_ownership
from tasks.archiving.records import put_record
from tasks.retention.approvals import require_month_unchanged, require_plan, require_rules
from tasks.retention.certificates import Doomed, Order, certificate_of, order_of, read_order
from tasks.retention.clocks import require_clocks
from tasks.retention.deletion_plan import read_plan
from tasks.retention.held_rows import KeptPart, keep_rows
from tasks.retention.imported_rows import forget_imported_rows
from tasks.retention.locks import compare_locks, release_store_holds
from tasks.retention.pages import certificate_page
from tasks.retention.restored_copies import check_droppable, drop_copies_of
from tasks.transparency.at_once import publish_at_once
from tasks.transparency.publish import publish_log
from tasks.watch.forgetting import forget_findings

OnStep = Callable[[str], object]
_Version = Mapping[str, Any]
_SHOWN = 3


class DeletionResult(StrEnum):
    """How the deletion of a month ended."""

    DELETED = "deleted"
    KEPT = "kept"
    HELD = "held"  # holds keep every row: there is nothing to delete
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DeletionOutcome:
    """What became of one month: the number of its certificate, or the reason why it has none."""

    table: str
    month: Month
    result: DeletionResult
    certificate: str = ""
    rows: int = 0
    reason: str = ""
    transient: bool = False


def delete_months(
    settings: Settings, request_id: int | None = None, on_step: OnStep = lambda _: None
) -> list[DeletionOutcome]:
    """Complete the deletions that have begun, then carry out the requests that are due; or only that one of them.

    A month that fails stops no other: its reason is in its outcome. Safe to run again after any interruption. Raises
    ConflictError while another run deletes, NotFoundError for an unknown request, and RefusalError for one that is not
    due. Raises OwnershipError where the archive is not this database's. ``on_step`` hears each step after it is done.
    """
    with connect(settings.database_dsn, "deletion") as connection, deletion_lock(connection):
        requests = _due(connection, request_id)
        begun = unfinished(connection)
        if not requests and not begun:
            return []
        owner = check_ownership(connection, settings)
        work = _Run(connection, settings, owner, on_step)
        outcomes = [work.outcome(_finished, deletion) for deletion in begun]
        for request in requests:
            outcomes_of_request = [work.outcome(_deleted, request, month) for month in _left(request)]
            _end_held(connection, request, outcomes_of_request)
            outcomes += outcomes_of_request
        return outcomes


def _due(connection: Connection, request_id: int | None) -> list[DeletionRequest]:
    """The requests to carry out, the oldest first."""
    now = read_now(connection)
    if request_id is None:
        due_requests = [request for request in list_requests(connection) if request.state(now) is RequestState.DUE]
        return due_requests[::-1]
    request = get_request(connection, request_id)
    require_due(request, now)
    return [request]


def require_due(request: DeletionRequest, now: datetime) -> None:
    """Raise RefusalError, saying what is missing, unless a request may be carried out at an aware instant."""
    state = request.state(now)
    if state is RequestState.DUE:
        return
    why = f"is {state}"
    if state is RequestState.WAITING:
        why = f"has {len(request.approved_by)} of {request.approvals} approvals"
    elif request.due_at is not None and state is RequestState.GRACE:
        why = f"is in its grace period until {request.due_at:%Y-%m-%d %H:%M} UTC"
    raise RefusalError(f"request {request.request_id} {why}: nothing is deleted under it")


def _end_held(connection: Connection, request: DeletionRequest, outcomes: Sequence[DeletionOutcome]) -> None:
    """Revoke a request of which nothing is left but months whose every row is held: it would be due for ever."""
    results = {outcome.result for outcome in outcomes}
    if DeletionResult.HELD in results and results <= {DeletionResult.HELD, DeletionResult.DELETED}:
        with connection.transaction():
            lock_requests(connection)
            add_decision(connection, request.request_id, "revoked", SYSTEM, SYSTEM, "every row that is left is held")


def _left(request: DeletionRequest) -> list[DoomedMonth]:
    begun = {(table, month) for table, month, *_ in request.done}
    return [month for month in request.months if (month.table, str(month.month)) not in begun]


@dataclass(frozen=True, slots=True)
class _Run:
    """A run in hand."""

    connection: Connection
    settings: Settings
    owner: Owner
    on_step: OnStep

    def outcome(
        self, work: Callable[..., DeletionOutcome], *arguments: Deletion | DeletionRequest | DoomedMonth
    ) -> DeletionOutcome:
        """The result of ``work``, an error of this project included."""
        subject = arguments[-1]
        assert isinstance(subject, Deletion | DoomedMonth)  # noqa: S101  # what both kinds of work are about
        if isinstance(subject, Deletion):
            table, month = subject.table_name, Month.of(subject.month)
        else:
            table, month = subject.table, subject.month
        try:
            return work(self, *arguments)
        except KeptVersionError as error:
            outcome = DeletionOutcome(table, month, DeletionResult.FAILED, reason=str(error))
        except (RefusalError, ConflictError) as error:
            outcome = DeletionOutcome(table, month, DeletionResult.KEPT, reason=str(error))
        except TreasuryError as error:
            is_transient = isinstance(error, TransientError)
            outcome = DeletionOutcome(table, month, DeletionResult.FAILED, reason=str(error), transient=is_transient)
        if isinstance(subject, Deletion) and not self.connection.closed:
            note_error(self.connection, subject.number, outcome.reason)
        return outcome


def _finished(work: _Run, deletion: Deletion) -> DeletionOutcome:
    with month_lock(work.connection, work.settings.table(deletion.table_name), Month.of(deletion.month)):
        return _finish(work, deletion)


def _deleted(work: _Run, request: DeletionRequest, doomed: DoomedMonth) -> DeletionOutcome:
    table = work.settings.table(doomed.table)
    with month_lock(work.connection, table, doomed.month):
        require_plan(request)
        require_rules(work.settings, request)
        require_clocks(work.connection, work.settings)
        if reason := _why_held(work, request, doomed):
            return DeletionOutcome(table.name, doomed.month, DeletionResult.HELD, reason=reason)
        require_month_unchanged(work.connection, work.settings, request, doomed)
        _sweep(work, doomed)
        parts = _parts(work, doomed)
        _require_deletable(work, doomed, parts)
        holds = _holds_on(work.connection, doomed)
        _require_no_former(work, doomed, holds)
        kept = _keep(work, doomed, parts, holds)
        whole = {
            kept_part.of_part: kept_part for kept_part in kept if kept_part.rows == _rows(parts, kept_part.of_part)
        }
        for key in (key for kept_part in whole.values() for key in kept_part.keys):
            _discard(work, key, is_held=True)
        parts = [part for part in parts if part.part not in whole]
        kept = [kept_part for kept_part in kept if kept_part.of_part not in whole]
        if not parts:
            _note_held(work, doomed, whole)
            return DeletionOutcome(
                table.name, doomed.month, DeletionResult.HELD, reason=_why_held(work, request, doomed)
            )
        number = _begin(work, request, doomed, parts, kept, holds)
        _note_held(work, doomed, whole)
        work.on_step("begun")
        deletion = get_deletion(work.connection, number)
        try:
            return _finish(work, deletion)
        except TreasuryError as error:
            if not work.connection.closed:
                note_error(work.connection, number, str(error))
            raise


def _why_held(work: _Run, request: DeletionRequest, doomed: DoomedMonth) -> str:
    """Which holds keep every row of a month that is left, where they do."""
    plan = read_plan(work.connection, [work.settings.table(doomed.table)], request.as_of)
    return next((month.reason for month in plan.kept if month.month == doomed.month and month.is_wholly_held), "")


def _note_held(work: _Run, doomed: DoomedMonth, whole: Mapping[int, KeptPart]) -> None:
    """Record the parts of which every row is held, so that they are not planned again."""
    for part, kept_part in whole.items():
        mark_wholly_held(work.connection, doomed.table, doomed.month, part, kept_part.holds)


def _rows(parts: Sequence[MonthPart], number: int) -> int:
    return next(part.row_count for part in parts if part.part == number)


def _parts(work: _Run, doomed: DoomedMonth) -> list[MonthPart]:
    """The parts that the plan names."""
    named = {part.part for part in doomed.parts}
    with work.connection.transaction():
        return [part for part in month_parts(work.connection, doomed.table, doomed.month) if part.part in named]


def _require_no_former(work: _Run, doomed: DoomedMonth, holds: Sequence[Hold]) -> None:
    """Former objects have held rows as they were before somebody worked on the month: they stay with the hold."""
    if holds and has_former_objects(work.connection, doomed.table, doomed.month):
        names = ", ".join(hold.name for hold in holds)
        raise RefusalError(
            f"{doomed}: {names} keeps rows of it, and the month was back in warm. Its former objects have these rows "
            "as they were, and cannot be divided. It is deleted once the hold is released"
        )


def _holds_on(connection: Connection, doomed: DoomedMonth) -> list[Hold]:
    """The open holds that keep some of the rows."""
    some = holds_on(open_holds(connection), doomed.table, doomed.month)[1]
    return [hold for hold in some if hold.name in doomed.keeps]


def _sweep(work: _Run, doomed: DoomedMonth) -> None:
    """Remove the held rows of an earlier try that did not reach its transaction."""
    for key, is_held in unused_copies(work.connection, doomed.table, doomed.month):
        _discard(work, key, is_held=is_held)


def _discard(work: _Run, key: str, *, is_held: bool) -> None:
    """Remove an object with held rows that is not used. One that the store has locked, as by a default retention of the
    bucket, stays for a later run while its rows are held: they are not to be deleted anyway.
    """
    try:
        VersionedStore(work.settings).remove(key)
    except KeptVersionError:
        if not is_held:
            raise
    else:
        mark_upload_removed(work.connection, key)


def _objects(work: _Run, doomed: DoomedMonth, parts: Sequence[MonthPart]) -> list[DoomedObject]:
    """Every object with rows of the month, or hashes of them: those that the parts name, and what attempts left."""
    of_month = objects_of_month(work.connection, doomed.table, doomed.month)
    deleted = {part.part for part in parts}
    named_objects = [
        DoomedObject(
            archived_object.object_key,
            archived_object.part,
            archived_object.kind,
            archived_object.size_bytes,
            bytes(archived_object.sha256),
            [],
        )
        for archived_object in of_month
        if archived_object.is_former or archived_object.part in deleted
    ]
    left = [
        DoomedObject(key, part, "leftover", None, None, [])
        for key, part, state in leftovers(work.connection, doomed.table, doomed.month)
        if state != "keeping"
    ]
    named = {doomed_object.object_key for doomed_object in (*named_objects, *left)}
    hidden = _removed_before(work, doomed) - named
    return [
        *named_objects,
        *left,
        *(DoomedObject(key, parts[0].part, "leftover", None, None, []) for key in sorted(hidden)),
    ]


def _removed_before(work: _Run, doomed: DoomedMonth) -> set[str]:
    """Objects of attempts that were removed, of which the store still has a version, as behind a delete marker."""
    removed = removed_uploads(work.connection, doomed.table, doomed.month)
    return removed & _contents(work, doomed.table, doomed.month)


def _contents(work: _Run, table: str, month: Month) -> set[str]:
    """The keys in the month's folders that have any content, in whatever version."""
    store, name = VersionedStore(work.settings), str(month)
    folders = (data_folder(table, name), tree_folder(table, name), manifest_folder(table, name))
    return {key for folder in folders for key in store.keys(folder)}


def _require_deletable(work: _Run, doomed: DoomedMonth, parts: Sequence[MonthPart]) -> None:
    """Before anything happens: nobody else's objects are in the month's folders, and the store keeps no version."""
    _refuse_strangers(work, doomed.table, doomed.month)
    check_droppable(work.connection, work.settings, doomed.table, doomed.month, {part.part for part in parts})
    store, now = VersionedStore(work.settings), datetime.now(UTC)
    for doomed_object in _objects(work, doomed, parts):
        ours = placed_holds(work.connection, doomed_object.object_key) if doomed.keeps else set()
        for version in store.versions(doomed_object.object_key):
            if reason := version.why_kept(now, hold_is_ours=version.version in ours):
                raise KeptVersionError(
                    f"{doomed}: the store keeps version {version.version or '(none)'} of "
                    f"{doomed_object.object_key}: {reason}. Nothing was deleted; run it again after that"
                )


def _refuse_strangers(work: _Run, table: str, month: Month) -> None:
    """Raise RefusalError for an object in the month's folders that this database did not write: it may have rows."""
    own = uploads_of_month(work.connection, table, month) | removed_uploads(work.connection, table, month)
    strange = sorted(_contents(work, table, month) - own)
    if strange:
        raise RefusalError(
            f"{table} {month}: {len(strange)} objects that this database did not write are in its folders, such as "
            f"{', '.join(strange[:_SHOWN])}: they may have rows of the month. Remove them, and run it again"
        )


def _keep(work: _Run, doomed: DoomedMonth, parts: Sequence[MonthPart], holds: Sequence[Hold]) -> list[KeptPart]:
    """The held rows of each part, stored as parts to come."""
    if not holds:
        return []
    newest, attempt = newest_part(work.connection, doomed.table, doomed.month)
    kept: list[KeptPart] = []
    for part in parts:
        number = newest + len(kept) + 1
        kept_part = keep_rows(work.connection, work.settings, work.owner, part, holds, number, attempt + 1)
        kept += [] if kept_part is None else [kept_part]
    work.on_step("kept")
    return kept


def _begin(
    work: _Run,
    request: DeletionRequest,
    doomed: DoomedMonth,
    parts: Sequence[MonthPart],
    kept: Sequence[KeptPart],
    holds: Sequence[Hold],
) -> int:
    """Store the order, then take the rows out of the views in one transaction; returns the deletion's number."""
    connection, settings = work.connection, work.settings
    number = next_number(connection)
    objects = _objects(work, doomed, parts)
    what = Doomed(doomed, parts, kept, objects)
    order = order_of(settings, work.owner, number, request, what, read_now(connection))
    content = order.to_bytes()
    key = f"{ORDERS}/{order.certificate}-{StoredFile.of(content).sha256.hex()[:16]}.json"
    put_record(settings, content, key)
    work.on_step("ordered")
    described = logged(key, content)
    run_ddl(connection, settings, lambda: _take_out(work, request, doomed, kept, holds, order, described))
    return number


def _take_out(
    work: _Run,
    request: DeletionRequest,
    doomed: DoomedMonth,
    kept: Sequence[KeptPart],
    holds: Sequence[Hold],
    order: Order,
    stored: LoggedObject,
) -> None:
    """The transaction that cannot be taken back. What people decide is looked at once more, under their locks."""
    connection = work.connection
    lock_holds(connection)
    lock_requests(connection)
    now = read_now(connection)
    current = get_request(connection, request.request_id)
    require_due(current, now)
    require_plan(current)
    require_month_unchanged(connection, work.settings, current, doomed)
    if _holds_on(connection, doomed) != list(holds):
        raise RefusalError(f"{doomed}: the holds on its rows changed a moment ago: run it again")
    numbers = [part["part"] for part in order.content["parts"]]
    begin_parts(connection, doomed.table, doomed.month, numbers, order.certificate, now)
    begin_removal(connection, doomed.table, doomed.month, order.certificate)
    for kept_part in kept:
        add_kept_part(connection, kept_part.values | {"begun_at": now}, kept_part.keys)
        copied = (
            kept_part.values["object_key"],
            kept_part.lookup.pieces,
            kept_part.lookup.footer,
            kept_part.lookup.filters,
        )
        add_lookup(connection, doomed.table, doomed.month.first_day, kept_part.part, *copied)
    body = DeletionBegun(
        table=doomed.table,
        month=str(doomed.month),
        parts=tuple(numbers),
        certificate=order.certificate,
        plan_sha256=request.plan_sha256.hex(),
        record=stored,
    )
    event = record_event(connection, work.owner, body)
    values = {
        "number": order.number,
        "certificate": order.certificate,
        "request_id": request.request_id,
        "table": doomed.table,
        "month": doomed.month.first_day,
        "order_content": order.to_bytes(),
        "order_key": stored.key,
        "begun_at": now,
        "event_incarnation": event.incarnation,
        "event_number": event.number,
    }
    add_deletion(connection, values, order.objects)
    for kept_part in kept:
        archived = archived_part(connection, doomed.table, doomed.month.first_day, kept_part.part)
        record_event(connection, work.owner, archived)


def _finish(work: _Run, deletion: Deletion) -> DeletionOutcome:
    """Everything after the transaction; each step is skipped where it was done."""
    connection, order = work.connection, read_order(deletion.order_content, deletion.order_key)
    if deletion.state == "begun":
        publish_log(work.settings)  # from here on no verification misses the objects
        work.on_step("published")
        if order.content["kept"]:
            month = Month.of(deletion.month)
            compare_locks(work.settings, deletion.table_name, month, month)  # the rows that stay get the store's hold
            work.on_step("held")
        named = (deletion.table_name, Month.of(deletion.month))
        drop_copies_of(connection, work.settings, *named, [part["part"] for part in order.content["parts"]])
        work.on_step("dropped")
        table = work.settings.table(deletion.table_name)
        forget_findings(connection, work.settings, table, named[1])
        forget_imported_rows(connection, work.settings, table, named[1])
        work.on_step("forgotten")
        _remove(work, deletion)
        _refuse_strangers(work, *named)
        work.on_step("proved")
        content = certificate_of(connection, work.settings, work.owner, deletion, order)
        key = f"{CERTIFICATES}/{deletion.certificate}"
        certify(connection, deletion.number, content, f"{key}.json", f"{key}.html")
        work.on_step("certified")
        deletion = get_deletion(connection, deletion.number)
    _certify(work, deletion, order)
    rows = sum(part["rows"] for part in order.content["parts"]) - sum(
        kept_part["rows"] for kept_part in order.content["kept"]
    )
    named = (deletion.table_name, Month.of(deletion.month))
    return DeletionOutcome(
        *named, DeletionResult.DELETED, deletion.certificate, rows, publish_at_once(work.settings, "deleted")
    )


def _remove(work: _Run, deletion: Deletion) -> None:
    """Delete every version of every object, and prove that each is absent; this machine's cache forgets it, too."""
    store = VersionedStore(work.settings)
    cache = ObjectCache(work.settings.object_cache_folder, 0)
    for doomed_object in doomed_objects(work.connection, deletion.number):
        if doomed_object.proved_at is not None:
            store.remove(doomed_object.object_key)  # somebody may have put it back
            continue
        versions = [version.to_record() for version in store.versions(doomed_object.object_key)]
        noted = _with_versions(doomed_object.versions, versions)
        note_versions(work.connection, deletion.number, doomed_object.object_key, noted)
        work.on_step(f"noted {doomed_object.object_key}")
        release_store_holds(work.connection, work.settings, doomed_object.object_key)
        work.on_step(f"released {doomed_object.object_key}")
        store.remove(doomed_object.object_key)
        if doomed_object.sha256 is not None:
            cache.forget(bytes(doomed_object.sha256).hex())
        work.on_step(f"removed {doomed_object.object_key}")
        mark_removed(work.connection, deletion.number, doomed_object.object_key)
        forget_locks(work.connection, doomed_object.object_key)


def _with_versions(noted: Sequence[_Version], versions: Sequence[_Version]) -> list[_Version]:
    """What an earlier try noted, then the versions that it did not see.

    A version is known by its id, as its legal hold may be off since; one without an id by all that the store says.
    """
    names = [version["version"] or version for version in noted]
    return [*noted, *(version for version in versions if (version["version"] or version) not in names)]


def _certify(work: _Run, deletion: Deletion, order: Order) -> None:
    """Put the certificate and its page into the archive; then the end, in one transaction with its events."""
    if deletion.certificate_content is None or deletion.certificate_key is None or deletion.page_key is None:
        raise DataError(f"deletions: {deletion.certificate} is {deletion.state} and has no certificate")
    content, store = bytes(deletion.certificate_content), ObjectStore(work.settings)
    page = certificate_page(content)
    store.put_bytes(content, deletion.certificate_key)
    store.put_bytes(page, deletion.page_key)
    work.on_step("stored")
    numbers = [part["part"] for part in order.content["parts"]]
    connection, table = work.connection, deletion.table_name
    with connection.transaction():
        finish(connection, deletion.number, table, deletion.month, numbers)
        for part, sha256 in manifests(connection, table, deletion.month, numbers).items():
            body = Deleted(
                table=table,
                month=f"{deletion.month:%Y-%m}",
                part=part,
                manifest_sha256=sha256,
                certificate=deletion.certificate,
                record=logged(deletion.certificate_key, content),
                page=logged(deletion.page_key, page),
            )
            record_event(connection, work.owner, body)
    work.on_step("done")


def failures(outcomes: Sequence[DeletionOutcome]) -> list[TreasuryError]:
    """An error for each month that is not deleted; a month that stays for a reason that people decide is a conflict."""
    kinds = {DeletionResult.KEPT: RefusalError, DeletionResult.FAILED: DataError}
    return [
        (TransientError if outcome.transient else kinds[outcome.result])(
            f"{outcome.table} {outcome.month}: {outcome.reason}"
        )
        for outcome in outcomes
        if outcome.result in kinds
    ]
