"""What the tests of the log share: an installation that owns its archive, in a bucket and in a folder."""

from tests.tasks.archiving.copies import copied
from tests.tasks.archiving.fixtures import ledger, store
from tests.tasks.transparency.fixtures import installation

__all__ = ["copied", "installation", "ledger", "store"]
