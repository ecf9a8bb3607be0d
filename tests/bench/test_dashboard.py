"""When the benchmark of the dashboard says that a target is missed."""

from bench.dashboard import TARGET_BYTES, TARGET_FIRST_MS, TARGET_P95_MS, missed

TARGETS = {"first_ms": TARGET_FIRST_MS, "p95_ms": TARGET_P95_MS, "bytes": TARGET_BYTES}
GOOD = {"first_ms": 300.0, "p50_ms": 900.0, "p95_ms": 100.0, "max_ms": 900.0, "bytes": 93_000}


def test_each_figure_with_a_target_is_judged_and_no_other() -> None:
    assert missed({"Now": GOOD}, TARGETS) == []
    for name, target in TARGETS.items():
        assert missed({"Now": GOOD, "Find": GOOD | {name: target + 1}}, TARGETS) == [f"Find {name}"]
