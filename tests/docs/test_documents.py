"""What the documents say exists, exists: settings with their defaults, commands, targets, files, headings."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import AliasChoices, BaseModel

from bench.__main__ import NAMES, ONLY_NAMED
from cli.archive import Job
from cli.main import app
from config.cache import CacheSettings
from config.dashboard import DashboardSettings
from config.health import AlertRepeatMinutes, AlertUrls, HealthSettings
from config.limits import RateLimits, WatchSettings
from config.log import KeySource, LogKeySettings
from config.prices import PriceSettings
from config.retention import RetentionSettings
from config.settings import Ports, Settings
from config.suppliers import FlashSettings, MobileMartSettings, PeachSettings, SimulatorSettings, Suppliers
from ledger.alerts import Severity
from ledger.policy import TierPolicy
from ledger.tables import TieredTable
from tasks.alerting.rules import rules
from tasks.prefect.deployments import deployments

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]
TEXTS = {path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}
SETTINGS = TEXTS["docs/settings.md"]
# Read outside of the settings model: which file it reads, and where the tests run.
OTHER_VARIABLES = {
    "TREASURY_CONFIG",
    "TREASURY_TEST_DATABASE_URL",
    "TREASURY_TEST_PG_BIN",
    "TREASURY_TEST_THOROUGH",
    "TREASURY_TEST_BROWSER",
    "TREASURY_TEST_PROMTOOL",
    "TREASURY_TEST_PICTURES",
}

# Settings that are models of their own.
NESTED: dict[str, type[BaseModel]] = {
    "PORTS": Ports,
    "CACHE": CacheSettings,
    "DASHBOARD": DashboardSettings,
    "HEALTH": HealthSettings,
    "ALERT_URLS": AlertUrls,
    "ALERT_REPEAT_MINUTES": AlertRepeatMinutes,
    "RATE_LIMITS": RateLimits,
    "WATCH": WatchSettings,
    "PRICES": PriceSettings,
    "RETENTION": RetentionSettings,
    "LOG_KEYS": LogKeySettings,
    "LOG_KEYS__ED25519": KeySource,
    "LOG_KEYS__MLDSA44": KeySource,
}

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^ *|[`$/] *)treasury ([a-z]+(?:-[a-z]+)*)(?: ([a-z_-]+))?", re.MULTILINE)

documents = pytest.mark.parametrize("name", TEXTS)


def _variables() -> dict[str, Any]:
    """Every variable that the settings are read from, with its default."""
    found: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names = list(alias.choices) if isinstance(alias, AliasChoices) else [alias or f"TREASURY_{name.upper()}"]
        found |= {str(one): field.default for one in names}
    for prefix, model in NESTED.items():
        found |= {f"TREASURY_{prefix}__{name.upper()}": field.default for name, field in model.model_fields.items()}
    return found


def _row_of(name: str) -> str:
    """The row of the table in docs/settings.md that describes ``name``."""
    rows = [line for line in SETTINGS.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]]
    assert len(rows) == 1, f"{name} is described {len(rows)} times"
    return rows[0]


@pytest.mark.parametrize("variable", _variables())
def test_every_setting_is_described_with_its_default(variable: str) -> None:
    row, default = _row_of(variable), _variables()[variable]
    if isinstance(default, str) and default[:1].isdigit():
        assert f"| `{default}` |" in row, f"{row} does not say {default}"
    if isinstance(default, bool):
        assert f"| `{str(default).lower()}` |" in row, f"{row} does not say {default}"
    elif isinstance(default, int | float):
        assert re.search(rf"\|\s*{default:,.0f}\s*\||\|\s*{default:.0f}\s*\|", row), f"{row} does not say {default}"


SUPPLIER_FIELDS = {
    f"{prefix}{name}": field.default
    for prefix, model in (
        ("", FlashSettings),
        ("", MobileMartSettings),
        ("", PeachSettings),
        ("simulator.", SimulatorSettings),
        ("suppliers.", Suppliers),
    )
    for name, field in model.model_fields.items()
    if name not in ("flash", "mobilemart", "peach", "simulator")
}
_DIFFERING = {"call_timeout_s"}  # one default a supplier: the row says both


@pytest.mark.parametrize("field", SUPPLIER_FIELDS)
def test_every_setting_of_a_supplier_is_described_with_its_default(field: str) -> None:
    row, default = _row_of(field), SUPPLIER_FIELDS[field]
    if isinstance(default, int | float) and not isinstance(default, bool) and field not in _DIFFERING:
        assert re.search(rf"\|\s*{default:,.15g}\s*\|", row), f"{row} does not say {default:,.15g}"
    elif isinstance(default, str):
        assert f"`{default}`" in row, f"{row} does not say {default}"


@pytest.mark.parametrize("field", TierPolicy.model_fields)
def test_every_age_of_the_policy_is_described_with_its_default(field: str) -> None:
    assert f"| {TierPolicy.model_fields[field].default} |" in _row_of(field)


@pytest.mark.parametrize("field", sorted(TieredTable.model_fields.keys() - {"name", "policy"}))
def test_every_field_of_a_table_is_described(field: str) -> None:
    _row_of(field)


@documents
def test_every_variable_that_is_named_is_read(name: str) -> None:
    named = set(re.findall(r"\bTREASURY_[A-Z0-9_]*[A-Z0-9]\b", TEXTS[name]))
    named -= {"TREASURY_SUPPLIERS__MODULES", "TREASURY_SUPPLIERS__VOUCHERLY__KEY"}  # read in test_fourth_supplier.py
    assert named <= set(_variables()) | OTHER_VARIABLES


def _commands() -> dict[str, set[str]]:
    """Every command of `treasury` with its subcommands."""
    group: Any = typer.main.get_command(app)
    return {name: set(getattr(one, "commands", ())) for name, one in group.commands.items()}


@documents
def test_every_command_that_is_named_exists(name: str) -> None:
    known = _commands()
    for command, argument in _COMMAND.findall(TEXTS[name]):
        assert command in known, f"treasury {command}"
        if argument and command == "run":
            assert argument in set(Job), f"treasury run {argument}"
        elif argument and known[command]:
            assert argument in known[command], f"treasury {command} {argument}"


def test_every_command_is_in_the_operators_table() -> None:
    told = {command for command, _ in _COMMAND.findall(TEXTS["docs/operations.md"])}
    assert set(_commands()) <= told


def test_every_job_is_told() -> None:
    for job in Job:
        assert job in TEXTS["docs/operations.md"].replace("-", "_")


@documents
def test_every_make_target_and_benchmark_that_is_named_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^ *|`|\$ )make ([a-z-]+)", TEXTS[name], re.MULTILINE)) <= targets
    assert set(re.findall(r"-m bench ([a-z_]+)", TEXTS[name])) <= {*NAMES, *ONLY_NAMED, "all"}


@pytest.mark.parametrize(
    ("goals", "measured"), [(["bench"], "all"), (["bench", "date_range", "up", "posting"], "date_range posting")]
)
def test_make_bench_runs_the_measurements_that_are_named(goals: list[str], measured: str) -> None:
    command = ["make", "-n", "-C", str(PROJECT), "READY=Makefile", *goals]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert re.findall(r"-m bench (.*)", shown) == [measured]
    assert ("treasury up" in shown) == ("up" in goals)


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")


@documents
def test_every_link_leads_somewhere(name: str) -> None:
    prose = _CODE.sub("", _FENCE.sub("", TEXTS[name]))
    for link in _LINK.findall(prose):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = ((PROJECT / name).parent / path).resolve() if path else PROJECT / name
        assert target.exists(), f"{name} links to {link}"
        if anchor:
            headings = _HEADING.findall(_FENCE.sub("", target.read_text(encoding="utf-8")))
            assert anchor in {_slug(heading) for heading in headings}, f"{name} links to {link}"


@documents
def test_every_file_of_the_project_that_is_named_exists(name: str) -> None:
    folders = "api|bench|cli|config|docs|examples|flows|ledger|servers|sql|storage|suppliers|tasks|tests"
    for path in re.findall(rf"`((?:{folders})/[\w./-]*\w)`", TEXTS[name]):
        assert (PROJECT / path).exists(), f"{name} names {path}"


def test_every_decision_is_listed() -> None:
    written = {path.name for path in (PROJECT / "docs/decisions").glob("0*.md")}
    assert set(re.findall(r"\]\((0\d{3}-[\w-]+\.md)\)", TEXTS["docs/decisions/README.md"])) == written


def test_no_number_of_a_decision_is_missing_or_used_twice() -> None:
    numbers = sorted(int(path.name[:4]) for path in (PROJECT / "docs/decisions").glob("0*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_page_is_in_the_index() -> None:
    pages = {path.name for path in (PROJECT / "docs").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\)", TEXTS["docs/README.md"], re.MULTILINE)) == pages


def test_no_runbook_of_a_critical_alert_says_that_it_waits_until_the_morning() -> None:
    sections = dict(re.findall(r"^### `([^`]+)`\n\n(.*)", TEXTS["docs/runbooks.md"], re.MULTILINE))
    critical = [rule.name for rule in rules(Settings()) if rule.severity is Severity.CRITICAL]
    assert [name for name in critical if not sections[name].startswith(("**Now", "**Today"))] == []


def test_the_queries_of_runbooks_about_transactions_ask_both_tables() -> None:
    sections = TEXTS["docs/runbooks.md"].split("\n### `transaction-")[1:]
    queries = [
        query for section in sections for query in re.findall(r"`treasury sql \"(.*?)\"`", section.split("\n## ")[0])
    ]
    assert len(queries) >= 3
    assert [
        query for query in queries if not {"transactions", "vas_transactions"} <= set(re.findall(r"\w+", query))
    ] == []


def test_every_alert_and_every_flow_has_a_runbook() -> None:
    headings = re.findall(r"^### `([^`]+)`$", TEXTS["docs/runbooks.md"], re.MULTILINE)
    groups = yaml.safe_load((PROJECT / "examples" / "monitoring" / "rules.yml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    own = [str(rule.name) for rule in rules(Settings())]
    flows = {one["entrypoint"].rpartition(":")[2].replace("_", "-") for one in deployments(PROJECT, Suppliers())}
    assert sorted(headings) == sorted([*own, *(rule["alert"] for rule in alerts), *flows])
    for rule in alerts:
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
