"""docs/security.md covers every requirement of OWASP ASVS 5.0 at levels 1 and 2, and what it cites exists; its table of
secrets is that of the program.
"""

import ast
import re
from pathlib import Path

from config.settings import SECRETS
from tests.servers import test_ports

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "docs/security.md").read_text(encoding="utf-8")
# How many requirements of level 1 or 2 each section has, first to last. Where those of level 3 stand between them the
# numbers are named. Source: OWASP_Application_Security_Verification_Standard_5.0.0_en.csv of the OWASP/ASVS repository.
SECTIONS = {
    "1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2,
    "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1,
    "3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5, "3.7": 2,
    "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4,
    "5.1": 1, "5.2": 3, "5.3": 2, "5.4": 3,
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "9.1": 3, "9.2": 4,
    "10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3,
    "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
    "12.1": 3, "12.2": 2, "12.3": 4,
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5,
    "14.1": 2, "14.2": 4, "14.3": 3,
    "15.1": 3, "15.2": 3, "15.3": 7,
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
    "17.1": 1, "17.2": 4, "17.3": 2,
}  # fmt: skip
VERDICTS = {"met", "not met", "operator", "n/a"}
_ROW = re.compile(r"^\| v5\.0\.0-([\d., to]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_CITED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _numbers(text: str) -> list[str]:
    """The requirements of a row: ``1.2.3``, or ``1.2.3 to 1.2.5``, several with commas between."""
    found = []
    for part in text.split(", "):
        first, _, last = part.partition(" to ")
        section, _, start = first.rpartition(".")
        end = (last or first).rpartition(".")[2]
        found += [f"{section}.{number}" for number in range(int(start), int(end) + 1)]
    return found


def _rows() -> list[tuple[list[str], str, str, str]]:
    return [(_numbers(numbers), asks, verdict.strip(), how) for numbers, asks, verdict, how in _ROW.findall(TEXT)]


def test_every_requirement_of_level_1_and_2_is_judged_once() -> None:
    wanted = [f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]
    judged = [number for numbers, *_ in _rows() for number in numbers]

    assert len(wanted) == 253
    assert sorted(judged) == sorted(wanted), set(judged) ^ set(wanted)


def test_no_row_of_the_table_is_overlooked() -> None:
    assert len(_rows()) == sum(line.startswith("| v5.0.0-") for line in TEXT.splitlines())


def test_each_verdict_is_one_of_four_and_what_is_met_is_proved() -> None:
    for numbers, _, verdict, how in _rows():
        assert verdict in VERDICTS, numbers
        assert _CITED.search(how) or len(how.split()) >= 2, f"{numbers} gives no reason"
        if verdict == "met":
            assert _CITED.search(how) or "](" in how, f"{numbers} is met and cites nothing"


def test_every_test_that_is_cited_exists() -> None:
    cited = set(_CITED.findall(TEXT))
    assert len(cited) > 40
    for path, name in sorted(cited):
        tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"


def test_the_counts_are_those_of_the_table() -> None:
    for verdict in VERDICTS:
        count = sum(len(numbers) for numbers, _, found, _ in _rows() if found == verdict)
        assert re.search(rf"\| {verdict} \| {count} \|", TEXT), f"{verdict}: {count}"


# The words of the table of secrets: the setting that each secret is in (`config.settings.SECRETS`).
PHRASES = {
    "none in the environment": None,
    "its own key": "s3_secret_access_key",
    "its own login": "prefect_api_auth_string",
    "the owner's login": "database_url",
    "its own login to PostgreSQL": "api_database_url",
    "the pepper": "api_key_pepper",
    "Redis": "redis_url",
    "the store": "s3_secret_access_key",
    "suppliers": "suppliers",
    "targets of notices": "alert_urls",
    "keys of the public log": "log_keys",
    "Prefect's login": "prefect_api_auth_string",
    "Prefect's login for the health of Prefect": "prefect_api_auth_string",
}
PROCESSES = {
    "PostgreSQL, Redis, simulators": ("postgres", "redis", "suppliers"),
    "S3": ("s3",),
    "Prefect server": ("prefect",),
    "worker and flow runs": ("worker",),
    "API": ("api",),
}
# The secrets that tests/servers/test_ports.py looks for in each process.
LOOKED_FOR = {
    "the owner's login": "database_url",
    "the API's login": "api_database_url",
    "the auditor's login": "auditor_database_url",
    "Prefect's login": "prefect_api_auth_string",
    "the store's secret": "s3_secret_access_key",
    "the password of Redis": "redis_url",
}


def _documented_secrets() -> dict[str, set[str]]:
    """The settings whose secrets each process gets, by the table of docs/security.md."""
    table = TEXT.partition("| process | secrets |")[2].strip().splitlines()[1:]
    found: dict[str, set[str]] = {}
    for line in table[: next(number for number, line in enumerate(table) if not line.startswith("|"))]:
        names, secrets = (cell.strip() for cell in line.strip("|").split("|"))
        fields = {field for phrase in secrets.split(", ") if (field := PHRASES[phrase]) is not None}
        found |= dict.fromkeys(PROCESSES[names], fields)
    return found


def test_the_table_of_secrets_says_what_the_processes_are_given_and_what_is_found_in_them() -> None:
    documented = _documented_secrets()
    visible = {
        process: {field for field, seen_by in SECRETS.items() if process in seen_by} for process in ("work", "api")
    }
    assert documented["worker"] == visible["work"]
    assert documented["api"] == visible["api"]
    assert set(LOOKED_FOR) == set(test_ports.SECRETS)
    looked_for = set(LOOKED_FOR.values())
    assert {name: fields & looked_for for name, fields in documented.items()} == {
        name: {LOOKED_FOR[title] for title in titles} for name, titles in test_ports.MAY_SEE.items()
    }
