"""`python -m bench NAME ...` or `all`: runs measurements; each prints its table and then one JSON line.

Ends with 1 when a measurement that was named missed its target. `all` names the missed ones and ends with 0.
"""

import importlib
import json
import sys

NAMES = (
    "hot_to_warm",
    "warm_to_cold",
    "import_rows",
    "posting",
    "date_range",
    "questions",
    "serving",
    "health",
    "limits_cost",
    "reconciliation",
    "metrics_cost",
    "cached_read",
    "watch",
    "public_log",
    "proofs",
    "restoring",
    "deletion",
    "dashboard",
)
ONLY_NAMED = ("soak",)  # a quarter of an hour: not in `all`


def main(names: list[str]) -> int:
    """Run the named measurements. Returns 2 for a name that is none, 1 when a named one missed its target."""
    everything = names == ["all"]
    chosen = list(NAMES) if everything else names
    unknown = [name for name in chosen if name not in (*NAMES, *ONLY_NAMED)]
    if unknown or not chosen:
        print(f"usage: python -m bench all | {' | '.join((*NAMES, *ONLY_NAMED))}", file=sys.stderr)
        return 2
    missed = []
    for name in chosen:
        result = importlib.import_module(f"bench.{name}").run()
        print(json.dumps(result))
        if not result.get("passed", True):
            missed.append(name)
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 0 if everything or not missed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
