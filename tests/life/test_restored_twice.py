"""One backup is restored twice, and the log had published since what the backup had not: nothing is published again."""

from collections import Counter
from pathlib import Path

from config import Settings
from ledger.transparency.events import Archived, Event
from sql.connection import connect
from sql.installation import read_installation
from sql.log import read_entries
from tasks.transparency.publish import publish_log
from tests.databases import Databases
from tests.life.whole_life import WholeLife
from tests.life.world import World


def test_a_move_that_was_published_since_the_backup_is_not_published_again(
    databases: Databases, server_settings: Settings, prepared: str, tmp_path: Path
) -> None:
    """A second entry of the move would say that the month is not deep any more, and that a deleted one is there."""

    class OneLife(WholeLife):
        @staticmethod
        def make_world() -> World:
            return World(server_settings, databases, prepared, tmp_path)

    life = OneLife()
    try:
        life.begin()
        life.finish_everything()
        life.archive(place=0)
        life.back_up()
        life.deepen(place=0, is_killed=False)  # which publishes both
        for in_place in (False, True):
            life.restore(in_place=in_place)
            publish_log(life.world.settings)
            life.every_row_is_in_one_tier()
        with connect(life.world.settings.database_dsn, "test") as connection:
            installation = read_installation(connection)
            assert installation is not None
            events = [Event.from_bytes(entry) for entry in read_entries(connection, installation.installation_id)]
        moves = Counter((event.body.month, event.body.part) for event in events if isinstance(event.body, Archived))
        assert set(moves.values()) == {1}
    finally:
        life.teardown()
