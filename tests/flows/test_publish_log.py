"""The flow that publishes the log, through a real Prefect server: what waits is published, a failure fails the run."""

import pytest

from flows.publish_log import publish_log
from ledger.errors import ConfigError
from tests.tasks.archiving.ledger import COLD, Ledger
from tests.tasks.transparency.test_copies import of


def test_a_run_publishes_what_waits(ledger: Ledger) -> None:
    state = publish_log(return_state=True)
    assert state.is_completed()
    ledger.warm(COLD)
    ledger.night()
    of(ledger).record("waits")
    state = publish_log(return_state=True)
    assert state.is_completed()
    published = state.result()
    assert published is not None
    assert (published.events, published.size) == (1, 4)
    assert of(ledger).kinds()[-1] == "waits"


@pytest.mark.heavy("tests/tasks/transparency tests the reasons")
def test_a_run_that_cannot_publish_fails_with_the_reason(ledger: Ledger) -> None:
    ledger.warm(COLD)
    ledger.night()
    of(ledger).record("waits")
    (ledger.settings.home / "keys" / "log-ed25519-1.pem").chmod(0o644)
    state = publish_log(return_state=True)
    assert state.is_failed()
    with pytest.raises(ConfigError, match="others than its owner"):
        state.result()
