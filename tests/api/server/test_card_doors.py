"""Every spelling of a card number through every door: refused, or masked, and never kept or shown as it came."""

import csv
import io
import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from api.logs.json_lines import JsonLines
from config import Settings
from ledger.alerts import Alert, Severity
from ledger.errors import FieldError
from sql.connection import connect
from tasks.alerting.delivery import Notice, NoticeKind
from tasks.alerting.store import list_alerts, raise_alert
from tasks.importing.run import ImportRequest, import_file
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.vocabulary import Decision
from tasks.statements.intake import take_in
from tests.api.ledger_rows import keyed
from tests.cli.conftest import typed  # noqa: F401  # the fixture
from tests.tasks.importing.conftest import MAPPING
from tests.tasks.statements.samples import FLASH, FLASH_NAME

VISA, AMEX = "4111111111111111", "378282246310005"  # published for tests; no card was ever issued with one
SPELLINGS = {
    "together": VISA,
    "blanks": "4111 1111 1111 1111",
    "hyphens": "4111-1111-1111-1111",
    "dots": "4111.1111.1111.1111",
    "two blanks": "4111  1111  1111  1111",
    "hyphens between blanks": "4111 - 1111 - 1111 - 1111",
    "spaces that do not break": "4111\u00a01111\u00a01111\u00a01111",
    "narrow spaces that do not break": "4111\u202f1111\u202f1111\u202f1111",
    "thin spaces": "4111\u20091111\u20091111\u20091111",
    "figure spaces": "4111\u20071111\u20071111\u20071111",
    "en dashes": "4111\u20131111\u20131111\u20131111",
    "em dashes": "4111\u20141111\u20141111\u20141111",
    "hyphens that do not break": "4111\u20111111\u20111111\u20111111",
    "minus signs": "4111\u22121111\u22121111\u22121111",
    "behind a word": f"PAN{VISA}",
    "in groups behind a word": "card4111 1111 1111 1111",
    "behind a hyphen": f"pan-{VISA}",
    "behind an underscore": f"pan_{VISA}",
    "on a magnetic stripe": f"%B{VISA}^DOE/J^2912101",
    "beside an expiry date": "4111 1111 1111 1111 12/27 123",
    "behind a counter": f"1 {VISA}",
    "in odd groups": "411 11111 1111 1111",
    "digit by digit": " ".join(VISA),
    "as 4-6-5": "3782 822463 10005",
    "as 4-6-5 with dots": "3782.822463.10005",
}
FILE_NAME = str.maketrans({"/": ":"})


def leaks(text: str) -> bool:
    """Whether all digits of the card come through in order, whatever parts them, written out or escaped."""
    digits = re.sub(r"\D", "", re.sub(r"\\(?:xa0|u[0-9a-f]{4})", " ", text))
    return VISA in digits or AMEX in digits


@pytest.fixture(params=SPELLINGS)
def spelling(request: pytest.FixtureRequest) -> str:
    return SPELLINGS[request.param]


def test_the_texts_leak_before_anything_is_done_to_them(spelling: str) -> None:
    assert leaks(spelling)
    assert leaks(repr(spelling))
    assert leaks(json.dumps(spelling))


PATH = "/api/v1/transactions"
BODY = {"user_id": "u-1", "wallet_id": "w-1", "type": "payment", "amount": "1.00", "currency": "ZAR"}
REQUESTS: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "a description": lambda text: (PATH, BODY | {"description": f"paid with {text}."}),
    "a value of metadata": lambda text: (PATH, BODY | {"metadata": {"deep": [text]}}),
    "a name in metadata": lambda text: (PATH, BODY | {"metadata": {text: 1}}),
    "a batch": lambda text: (f"{PATH}/batch", {"items": [BODY | {"description": text}]}),
    "the name of a field": lambda text: (PATH, BODY | {text: "x"}),
    "the name of a field of a batch": lambda text: (f"{PATH}/batch", {text: []}),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("door", REQUESTS)
def test_the_api_stores_and_repeats_none(door: str, api: httpx.Client, database: Any) -> None:
    for name, spelling in SPELLINGS.items():
        path, body = REQUESTS[door](spelling)
        answer = api.post(path, json=body, headers=keyed())
        assert answer.status_code == 422 or answer.json()["rejected"] == 1, name
        assert not leaks(answer.text), name
    assert database.execute("SELECT count(*) FROM transactions").fetchone() == (0,)


PRINTED = ("blanks", "hyphens", "dots", "two blanks", "en dashes", "spaces that do not break", "as 4-6-5")


def test_a_reference_or_a_key_is_not_written_as_a_card(api: httpx.Client) -> None:
    for name in PRINTED:
        answer = api.post(PATH, json=BODY | {"reference": SPELLINGS[name]}, headers=keyed())
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reference"), name
        if re.fullmatch(r"[!-~]+", SPELLINGS[name]):  # what a key may consist of
            answer = api.post(PATH, json=BODY, headers={"Idempotency-Key": SPELLINGS[name]})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key"), name


def test_no_decision_is_taken_down_with_one(settings: Settings) -> None:
    for name, spelling in SPELLINGS.items():
        for door in ("reason", "actor"):
            texts = {"reason": "checked", "actor": "thandi"} | {door: spelling}
            with pytest.raises(FieldError) as refused:
                resolve(settings, 1, texts["actor"], Decision.WRITE_OFF, texts["reason"])
            assert refused.value.field == door, name
            assert not leaks(str(refused.value)), name


def test_every_column_of_the_rejects_file_is_masked(settings: Settings, tmp_path: Path) -> None:
    lines = ["no,wallet,amount,text,at"]
    for spelling in SPELLINGS.values():
        lines += [f"1,w1,?{spelling},{spelling},2024-05-17", f"2,w1,1.00,x,{spelling}"]
        lines += [f"3,w1,{'x' * 4080}{spelling},,2024-05-17", f"4,w1,{spelling}"]
    shown = imported(settings, tmp_path, "\n".join([*lines, ""]))
    records = list(csv.reader(io.StringIO(shown)))[1:]
    assert len(records) == 4 * len(SPELLINGS)
    for line, *texts in records:
        assert not any(map(leaks, texts)), (line, texts)


def imported(settings: Settings, folder: Path, content: str) -> str:
    """The rejects file of an import, of which every line is rejected."""
    file, mapping_file = folder / "history.csv", folder / "mapping.toml"
    file.write_text(content)
    mapping_file.write_text(MAPPING)
    report = import_file(settings, ImportRequest(file, mapping_file), lambda *_: None, datetime(2026, 1, 1, tzinfo=UTC))
    assert (report.loaded, report.rejected) == (0, report.read)
    return report.rejects.read_text()


@pytest.mark.heavy("other doors are tested beside it")
def test_the_error_about_a_header_shows_none(typed: Any, tmp_path: Path) -> None:  # noqa: F811  # the fixture
    (tmp_path / "mapping.toml").write_text(MAPPING)
    for name, spelling in SPELLINGS.items():
        (tmp_path / "history.csv").write_text(f"{spelling},wallet\n1,2\n")
        code, out, err = typed("import", str(tmp_path / "history.csv"), "--mapping", str(tmp_path / "mapping.toml"))
        assert (code, "no column" in err) == (78, True), name
        assert not leaks(out + err), name


def test_a_statement_with_one_is_refused_and_nothing_of_it_kept(settings: Settings, tmp_path: Path) -> None:
    for name, spelling in SPELLINGS.items():
        (tmp_path / FLASH_NAME).write_text(FLASH.replace("1Voucher", f"Airtime {spelling}"))
        [taken] = take_in(settings, "flash", url=str(tmp_path), actor=spelling, retry=True)
        assert str(taken.result) == "quarantined", name
        assert not leaks(str(taken.error)), name
    kept = "SELECT f::text FROM statement_files f UNION ALL SELECT (to_jsonb(a) - 'fingerprint')::text FROM alerts a"
    with psycopg.connect(settings.database_dsn) as connection:
        rows = connection.execute(kept).fetchall()
    assert len(rows) > len(SPELLINGS)
    for row in rows:
        assert not leaks(str(row))


def test_no_logger_writes_one(spelling: str) -> None:
    fields = {"fields": {spelling: [spelling, {"deep": (spelling,)}], "number": int(VISA)}}
    written = [(f"failed for {spelling}", ()), ("failed for %s", (spelling,)), ("failed for %r", (spelling,))]
    for message, arguments in written:
        record = logging.LogRecord("x", logging.INFO, "", 0, message, arguments, None)
        line = JsonLines().format(logging.makeLogRecord(vars(record) | fields))
        assert json.loads(line)["message"].startswith("failed for ")
        assert not leaks(json.dumps({**json.loads(line), "time": ""}, ensure_ascii=False))


def test_no_alert_and_no_notice_has_one(settings: Settings) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with connect(settings.database_dsn, "tests") as connection:
        for name, text in SPELLINGS.items():
            evidence = {"path": text, text: "x", "number": int(VISA), "cut": "x" * 490 + " " + text}
            told = Alert("injection", f"file {text}", Severity.WARNING, f"{text} came", f"Look at {text}", evidence)
            raise_alert(connection, told, event_id=f"file {text}")
            kept = list_alerts(connection)[0]
            assert kept.title.endswith(" came"), name
            texts = (kept.rule, kept.subject, kept.title, kept.what_to_do)
            notice = Notice(NoticeKind.OPENED, kept.severity, *texts, now, now, 1)
            for one in (notice, replace(notice, title=text)):
                assert not leaks(one.text), name
        rows = connection.execute("SELECT (to_jsonb(a) - 'fingerprint')::text FROM alerts a").fetchall()
    assert len(rows) == len(SPELLINGS)
    for row in rows:
        assert not leaks(str(row))
