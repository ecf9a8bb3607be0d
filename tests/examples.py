"""How many examples hypothesis tries of a property that costs a request or a run of an engine each time."""

import os

THOROUGH = "TREASURY_TEST_THOROUGH"
_PART = 3


def examples(thorough: int) -> int:
    """``thorough`` in `make test-all`, else a third of it. A property that costs next to nothing needs neither."""
    return thorough if os.environ.get(THOROUGH) else -(-thorough // _PART)
