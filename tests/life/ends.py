"""What people do to months of ten years ago, as runs that can be killed, and what must be true after them."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from bench.databases import on_database
from config import Settings
from ledger.archive_objects import EVERY_PART
from ledger.errors import DataError, RefusalError
from ledger.holds import HoldScope, Subject
from ledger.months import Month
from ledger.transparency.events import Deleted, Event, Held, Released, Returned
from ledger.transparency.replay import check_numbers
from sql.connection import connect
from sql.installation import read_installation
from sql.log import read_entries
from sql.restored import Request
from storage.store import ObjectStore
from tasks.archiving.to_cold import Step, archive_month
from tasks.restoring.back_to_warm import return_month
from tasks.restoring.restore import drop_copies, restore_month
from tasks.restoring.unseal import unseal_month
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import delete_months
from tasks.retention.holds import holds, place_hold, release_hold
from tasks.transparency.publish import publish_log
from tests.life.scenes import ROWS, Beginning, Interrupted, Scene, unfinished_uploads, without_tier
from tests.tasks.archiving.ledger import COLD, HOT, Ledger
from tests.tasks.retention.aged import OLD, OLDER, REVIEW, age, certificate, hold, objects_of, wrong

WALLET = "wallet-3"
REQUEST = Request("anna", "anna", "to look", timedelta(days=1))
OnStep = Callable[[str], None]


class End(Protocol):
    """What a run does to the months, and how the next one completes it."""

    @property
    def deletes(self) -> bool:
        """Whether rows go."""

    def do(self, settings: Settings, on_step: OnStep) -> None:
        """Do it once."""

    def complete(self, settings: Settings) -> None:
        """What people or the next night do after a run that was killed."""

    def check(self, scene: "EndScene", events: Sequence[Any]) -> None:
        """What is true then; ``events`` are all bodies of the log."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """The approved months are deleted; the rows of a held wallet stay."""

    deletes = True

    def do(self, settings: Settings, on_step: OnStep) -> None:
        """Carry out what is approved."""
        delete_months(settings, on_step=on_step)

    def complete(self, settings: Settings) -> None:
        """Carry out the rest."""
        assert all(one.certificate for one in delete_months(settings))
        assert delete_months(settings) == []

    def check(self, scene: "EndScene", events: Sequence[Any]) -> None:
        """Each part is deleted once, with a certificate; no object of it is left."""
        deleted = [body for body in events if isinstance(body, Deleted)]
        assert sorted(body.month for body in deleted) == [str(OLDER), str(OLD)]
        for body in deleted:
            assert body.certificate is not None
            assert certificate(scene.ledger, body.certificate)["month"] == body.month
        assert objects_of(scene.ledger, OLDER) == set()
        named = {key for (key,) in scene.ledger.sql("SELECT object_key FROM archive_objects")}
        assert {key for key in objects_of(scene.ledger, OLD) if "/deletions/" not in key} <= named


@dataclass(frozen=True, slots=True)
class Holding:
    """A hold is placed on a wallet's rows."""

    deletes = False

    def do(self, settings: Settings, on_step: OnStep) -> None:
        """Place it."""
        scope = HoldScope(OLDER, OLDER, "transactions", Subject.WALLET, WALLET)
        place_hold(settings, scope, "matter 8", "asked for by the court", "anna", REVIEW)
        on_step("placed")
        publish_log(settings, on_step)

    def complete(self, settings: Settings) -> None:
        """Whoever had no answer looks whether it is there, and places it if it is not."""
        if len(holds(settings)) == 1:
            self.do(settings, lambda _: None)

    def check(self, scene: "EndScene", events: Sequence[Any]) -> None:
        """It is there once, with its record, and an event of its own."""
        placed = holds(scene.settings)
        assert sorted(one.hold.number for one in placed) == [1, 2]
        held = [body for body in events if isinstance(body, Held)]
        assert sorted(body.hold for body in held) == ["HOLD-1", "HOLD-2"]
        assert all(body.record is not None and scene.store.read_bytes(body.record.key) for body in held)


@dataclass(frozen=True, slots=True)
class Releasing:
    """The second of two people releases a hold."""

    deletes = False

    def do(self, settings: Settings, on_step: OnStep) -> None:
        """Propose and confirm."""
        release_hold(settings, 1, "ben", "the matter is closed")
        on_step("proposed")
        release_hold(settings, 1, "carol", "checked")
        on_step("released")
        publish_log(settings, on_step)

    def complete(self, settings: Settings) -> None:
        """Whoever had no answer does it again: what is done already is refused."""
        for actor in ("ben", "carol"):
            with suppress(RefusalError):
                release_hold(settings, 1, actor, "again")

    def check(self, scene: "EndScene", events: Sequence[Any]) -> None:
        """It is released once, by two people."""
        assert [one.is_open for one in holds(scene.settings)] == [False]
        assert len([body for body in events if isinstance(body, Released)]) == 1


@dataclass(frozen=True, slots=True)
class Copying:
    """An archived month is copied into the schema of restored months."""

    deletes = False

    def do(self, settings: Settings, on_step: OnStep) -> None:
        """Copy it."""
        restore_month(settings, settings.table("transactions"), OLD, REQUEST, on_step)
        publish_log(settings, on_step)

    def complete(self, settings: Settings) -> None:
        """Copy it again."""
        self.do(settings, lambda _: None)

    def check(self, scene: "EndScene", events: Sequence[Any]) -> None:
        """There is one copy, with every row; once it is dropped nothing is left of it."""
        (copy,) = restore_month(scene.settings, scene.ledger.table, OLD, REQUEST)
        found = scene.ledger.sql(f"SELECT id FROM {copy.relation}")
        assert {UUID(str(key)) for (key,) in found} == {UUID(str(row["id"])) for row in scene.rows_of(OLD)}
        assert scene.ledger.sql(_RELATIONS) == [(copy.relation.rpartition(".")[2],)]
        drop_copies(scene.settings, only_expired=False)
        assert scene.ledger.sql(_RELATIONS) == []


_RELATIONS = """
    SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('restored') AND relkind IN ('r', 'p')
"""


@dataclass(frozen=True, slots=True)
class Returning:
    """An archived month goes back to warm, and is archived again once its days are over."""

    deletes = False

    def do(self, settings: Settings, on_step: OnStep) -> None:
        """Bring it back."""
        return_month(settings, settings.table("transactions"), OLD, REQUEST, on_step)
        publish_log(settings, on_step)

    def complete(self, settings: Settings) -> None:
        """Bring it back again: one that is back gets no more days."""
        self.do(settings, lambda _: None)

    def check(self, scene: "EndScene", events: Sequence[Any]) -> None:
        """It went back once, its former objects are all there, and it is archived as any other."""
        (body,) = [body for body in events if isinstance(body, Returned)]
        assert scene.store.read_bytes(body.record.key)
        assert scene.ledger.tier(OLD) == "warm"
        assert scene.ledger.sql(_RELATIONS) == []
        former = {key for (key,) in scene.ledger.sql("SELECT object_key FROM former_objects")}
        assert len(former) == len(EVERY_PART)
        assert all(map(scene.store.exists, former))
        archive_month(scene.settings, scene.ledger.table, OLD)
        publish_log(scene.settings)
        scene.check_rows()
        assert all(map(scene.store.exists, former))


@dataclass(frozen=True, slots=True)
class Unsealing:
    """A month whose archiving was interrupted takes writes again."""

    deletes = False

    def do(self, settings: Settings, on_step: OnStep) -> None:
        """Take the seal off."""
        unseal_month(settings, settings.table("transactions"), COLD, "anna", "rows are to be corrected")
        on_step("unsealed")

    def complete(self, settings: Settings) -> None:
        """Take it off again, unless it is off."""
        with suppress(DataError):  # it is off
            self.do(settings, lambda _: None)

    def check(self, scene: "EndScene", events: Sequence[Any]) -> None:
        """The month has no seal, and is archived as any other."""
        seals = (
            "SELECT count(*) FROM pg_trigger WHERE starts_with(tgname, 'treasury_sealed') AND tgrelid = %s::regclass"
        )
        assert scene.ledger.sql(seals, scene.ledger.table.partition(COLD)) == [(0,)]
        archive_month(scene.settings, scene.ledger.table, COLD)
        publish_log(scene.settings)
        scene.check_rows()


class EndScene(Scene):
    """One case: two months of 2014, a hold on a wallet, a request that two people approved, and a sealed month."""

    def __init__(self, beginning: Beginning, settings: Settings, end: End) -> None:
        super().__init__(beginning, settings)
        self.end = end

    @staticmethod
    def of(end: End) -> Callable[[Beginning, Settings], "EndScene"]:
        """Makes the scene of a kind of run."""
        return lambda beginning, settings: EndScene(beginning, settings, end)

    def rows_of(self, month: Month) -> list[dict[str, Any]]:
        """The rows of a month at the beginning."""
        return [row for row in self.beginning.rows if row["month"] == str(month)]

    def check_rows(self, *, is_done: bool = False) -> None:
        """Every row is visible in one tier, as it was; of a month that is being deleted all rows, or those held."""
        found = self.ledger.ask("SELECT * FROM transactions ORDER BY id, tier")
        tiers = {(row["month"], row["tier"]) for row in found}
        assert len(tiers) == len({month for month, _ in tiers}), f"a month is in two tiers: {sorted(tiers)}"
        for month in {Month.parse(row["month"]) for row in self.beginning.rows}:
            seen = [without_tier(row) for row in found if row["month"] == str(month)]
            kept = [row for row in self.rows_of(month) if month == OLD and row["wallet_id"] == WALLET]
            allowed = [self.rows_of(month)]
            if self.end.deletes and month in (OLDER, OLD):
                allowed = [kept] if is_done else [self.rows_of(month), kept]
            assert seen in allowed, month

    def complete(self) -> None:
        """What people do next, and the publication of the log."""
        self.end.complete(self.settings)
        publish_log(self.settings)

    def check_completed(self) -> None:
        """It is done once; the log is whole, every object is what it says, and nothing half-made is left."""
        self.check_rows(is_done=True)
        with connect(self.settings.database_dsn, "tests") as connection:
            installation = read_installation(connection)
            assert installation is not None
            events = [Event.from_bytes(one) for one in read_entries(connection, installation.installation_id)]
        check_numbers(events)
        self.end.check(self, [event.body for event in events])
        assert wrong(self.ledger) == []
        assert unfinished_uploads(self.settings) == []
        assert not [path for path in self.settings.spool.glob("*") if path.is_dir()]


def begin_end(server: Settings, name: str, archive_url: str, folder: Path) -> Beginning:
    """The beginning of every scene, in the prepared database ``name``."""
    home = folder / "home"
    own = on_database(server, name).model_copy(update={"home": home, "archive_url": archive_url})
    own = own.model_copy(update={"retention": own.retention.model_copy(update={"grace_days": 0})})
    ledger = Ledger(own, Path())
    age(ledger, OLDER, OLD)
    ledger.warm(COLD, rows=ROWS)
    ledger.fill(HOT, rows=2)
    hold(ledger, OLD, WALLET)
    _seal(own, COLD)
    asked = request_deletion(own, [ledger.table], "anna", "past the policy")
    for actor in ("ben", "carol"):
        approve(own, asked.request_id, actor, "looked at")
    publish_log(own)
    rows = [without_tier(row) for row in ledger.ask("SELECT * FROM transactions ORDER BY id")]
    store = ObjectStore(own)
    objects = {key: store.read_bytes(key) for key in store.keys("")}
    home.mkdir(exist_ok=True)
    shutil.rmtree(own.spool, ignore_errors=True)
    return Beginning(own, server.database_dsn, name, home, objects, rows, ())


def _seal(settings: Settings, month: Month) -> None:
    def stop(step: Step) -> None:
        if step is Step.SEALED:
            raise Interrupted

    try:
        archive_month(settings, settings.table("transactions"), month, stop)
    except Interrupted:
        return
    raise AssertionError("the attempt was not interrupted")
