"""The examples for Prometheus and Grafana, evaluated by Prometheus's own promtool where the machine has it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.api.monitoring.test_exposition import EXAMPLES, RULES

PROMTOOL = os.environ.get("TREASURY_TEST_PROMTOOL") or shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


def promtool(*arguments: str) -> None:
    """Run it beside the rules; what it finds wrong is in the failure."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], cwd=EXAMPLES, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")])
def test_each_alert_fires_for_its_cause_and_none_on_a_quiet_system(arguments: tuple[str, ...]) -> None:
    promtool(*arguments)


@needs_promtool
def test_every_panel_is_a_query(tmp_path: Path) -> None:
    panels = json.loads((EXAMPLES / "grafana.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(path))


@needs_promtool
def test_the_configuration_is_one(tmp_path: Path) -> None:
    text = (EXAMPLES / "prometheus.yml").read_text().replace("/etc/prometheus/treasury.key", "/dev/null")
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(EXAMPLES / "rules.yml", tmp_path)
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_each_alert_is_in_the_tests_of_the_rules() -> None:
    tests = (EXAMPLES / "rules_test.yml").read_text()
    names = [rule[kind] for rule in RULES for kind in ("alert", "record") if kind in rule]
    assert [name for name in names if name not in tests] == []
