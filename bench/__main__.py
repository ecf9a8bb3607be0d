"""`python -m bench NAME ...` or `all`: runs measurements; each prints its table and then one JSON line."""

import importlib
import json
import sys

NAMES = (
    "hot_to_warm",
    "warm_to_cold",
    "import_rows",
    "posting",
    "date_range",
    "serving",
    "health",
    "limits_cost",
    "reconciliation",
    "metrics_cost",
    "cached_read",
    "watch",
)


def main(names: list[str]) -> int:
    """Run the named measurements. Returns 2 for a name that is none; a missed target is reported, not a failure."""
    chosen = list(NAMES) if names == ["all"] else names
    unknown = [name for name in chosen if name not in NAMES]
    if unknown or not chosen:
        print(f"usage: python -m bench all | {' | '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in chosen:
        print(json.dumps(importlib.import_module(f"bench.{name}").run()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
