"""A wrong day on the command line is refused by the name of its option, before anything starts."""

import pytest

from ledger.errors import ConfigError
from tests.cli.conftest import Typed

COMMANDS = (
    ("run", "archive_months", "--as-of"),
    ("generate", "--months", "1", "--rows-per-month", "1", "--until"),
    ("statements", "take-in", "flash", "--day"),
    ("statements", "list", "--day"),
    ("recon", "run", "flash"),
    ("recon", "run", "flash", "2026-02-03", "--last-day"),
    ("recon", "runs", "--first"),
    ("recon", "breaks", "--last"),
    ("recon", "close-period", "flash", "2026-02-03"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("wrong", ["2026-02-30", "2026-2-3", "20260203", "yesterday", "2026-02-03T00:00:00"])
def test_a_wrong_day_is_refused_by_name(typed: Typed, command: tuple[str, ...], wrong: str) -> None:
    reason = ("--reason", "checked") if "close-period" in command else ()
    code, out, err = typed(*command, wrong, *reason)
    name = command[-1] if command[-1].startswith("--") else {"flash": "day", "2026-02-03": "last"}[command[-1]]
    assert (code, out) == (ConfigError.exit_code, "")
    assert f"error: {name}: {wrong!r} must be a day of the calendar, written as YYYY-MM-DD" in err
