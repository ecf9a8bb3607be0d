"""One month of one table through its moves, with every failure turned into an outcome: nothing stops its neighbours."""

import time
from collections.abc import Callable
from dataclasses import replace

from config import Settings
from ledger.errors import ConflictError, OwnershipError, TransientError, TreasuryError
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import connect
from tasks.archiving.catalogue import month_states
from tasks.archiving.orphans import remove_orphans
from tasks.archiving.outcome import MoveAction, MoveOutcome, MoveResult
from tasks.archiving.plan import PlannedMove
from tasks.archiving.to_cold import HeldBackError, archive_month, record_failure
from tasks.archiving.to_deep import WaitsForTransitionError, deepen, record_deep_failure
from tasks.archiving.to_warm import tidy_month, warm_month
from tasks.transparency.at_once import publish_at_once


def move_month(settings: Settings, move: PlannedMove) -> list[MoveOutcome]:
    """Carry out a planned move; one outcome per action, and none after the first that did not succeed.

    Raises nothing of this project's own errors: they become outcomes, and the reason is kept in the catalogue. Of any
    other error its kind is kept there, and the error is raised. Safe to run again; an action that is already done is
    not repeated.
    """
    outcomes = []
    for action in move.actions:
        outcome = (_held if action is move.held_at else _attempt)(settings, move, action)
        outcomes.append(outcome)
        if outcome.result not in (MoveResult.MOVED, MoveResult.ALREADY):
            break
    return outcomes


def _held(settings: Settings, move: PlannedMove, action: MoveAction) -> MoveOutcome:
    if not move.refused:
        return _outcome(move, action, MoveResult.HELD_BACK, reason=move.held_back)
    _record(settings, move, move.held_back)
    return _outcome(move, action, MoveResult.FAILED, reason=move.held_back)


def _attempt(settings: Settings, move: PlannedMove, action: MoveAction) -> MoveOutcome:
    started = time.monotonic()
    try:
        outcome = _STEPS[action](settings, move)
    except (HeldBackError, WaitsForTransitionError) as error:
        outcome = _outcome(move, action, MoveResult.HELD_BACK, reason=str(error))
    except OwnershipError as error:  # before ConflictError, which it is: nobody else does this month's work
        outcome = _outcome(move, action, MoveResult.FAILED, reason=f"{type(error).__name__}: {error}")
        _record(settings, move, outcome.reason)
    except ConflictError as error:
        outcome = _outcome(move, action, MoveResult.BUSY, reason=str(error))
    except TreasuryError as error:
        outcome = _outcome(move, action, MoveResult.FAILED, reason=f"{type(error).__name__}: {error}")
        outcome = replace(outcome, transient=isinstance(error, TransientError))
        _record(settings, move, outcome.reason)
    except Exception as error:  # nobody foresaw it: its text may quote a row, and stays in the log of the run
        _record(settings, move, f"{type(error).__name__}: nobody foresaw it; the log of the run has its text")
        raise
    return replace(outcome, duration_s=time.monotonic() - started)


def _record(settings: Settings, move: PlannedMove, reason: str) -> None:
    table = settings.table(move.table)
    try:
        if MoveAction.TO_DEEP in move.actions:
            record_deep_failure(settings, table, move.month, move.part, reason)
        else:
            record_failure(settings, table, move.month, reason)
    except TreasuryError:
        return  # PostgreSQL itself is away; the outcome still carries the reason


def _warm(settings: Settings, move: PlannedMove) -> MoveOutcome:
    table = settings.table(move.table)
    # A month that goes on to cold at once is not tidied for warm.
    stays = MoveAction.TO_COLD not in move.actions or move.held_at is MoveAction.TO_COLD
    if warm_month(settings, table, move.month, tidy=stays, run=move.run):
        return _outcome(move, MoveAction.TO_WARM, MoveResult.MOVED)
    return _outcome(move, MoveAction.TO_WARM, MoveResult.ALREADY, reason="by another run")


def _cold(settings: Settings, move: PlannedMove) -> MoveOutcome:
    done = archive_month(settings, settings.table(move.table), move.month)
    return MoveOutcome(
        move.table,
        move.month,
        MoveAction.TO_COLD,
        MoveResult.MOVED,
        done.rows,
        done.postgres_bytes,
        done.archive_bytes,
        reason=publish_at_once(settings, "archived"),
    )


def _deep(settings: Settings, move: PlannedMove) -> MoveOutcome:
    done = deepen(settings, settings.table(move.table), move.month, move.part)
    if done is None:
        return _outcome(move, MoveAction.TO_DEEP, MoveResult.ALREADY, reason="by another run")
    where = f"into {done.storage_class}" if done.storage_class else "no storage class is set"
    reason = publish_at_once(settings, "archived") or where
    return MoveOutcome(
        move.table,
        move.month,
        MoveAction.TO_DEEP,
        MoveResult.MOVED,
        done.rows,
        archive_bytes=done.size_bytes,
        reason=reason,
    )


_STEPS: dict[MoveAction, Callable[[Settings, PlannedMove], MoveOutcome]] = {
    MoveAction.TO_WARM: _warm,
    MoveAction.TO_COLD: _cold,
    MoveAction.TO_DEEP: _deep,
}


def _outcome(move: PlannedMove, action: MoveAction, result: MoveResult, reason: str = "") -> MoveOutcome:
    return MoveOutcome(move.table, move.month, action, result, move.rows, move.postgres_bytes, reason=reason)


def finish_leftovers(settings: Settings, table: TieredTable) -> int:
    """What interrupted runs left to do: tidy warm months, delete objects that no month uses. Returns how many.

    Safe to run again. Raises TransientError when a server is away.
    """
    with connect(settings.database_dsn, "leftovers") as connection:
        untidy = [
            state.month
            for state in month_states(connection, table)
            if state.tier is Tier.WARM and state.catalogue.tidied_at is None and state.catalogue.step == "idle"
        ]
        for month in untidy:
            tidy_month(connection, settings, table, month)
        return len(untidy) + remove_orphans(connection, settings, table)
