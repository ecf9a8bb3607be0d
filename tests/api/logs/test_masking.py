"""Nothing that must stay secret reaches a log, whoever logs it and however; and cards do not get into the ledger."""

import json
import logging
import os
import subprocess
import sys
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ledger.card_numbers import FREE_TEXTS, REFERENCES, Refusal, is_card_number, passes_luhn, refuse_card_numbers
from ledger.errors import FieldError
from ledger.masking import mask_forms

# Numbers that the networks publish for tests; no card was ever issued with one.
CARDS = {
    "visa": "4111111111111111",
    "visa of 13": "4222222222222",
    "mastercard": "5555555555554444",
    "mastercard, new range": "2223003122003222",
    "american express": "378282246310005",
    "diners": "30569309025904",
    "discover": "6011111111111117",
    "jcb": "3530111333300000",
    "unionpay": "6200000000000005",
}
SECRETS = {
    "a key": ("trk_3f9e54ac4ec1_nXDZ4H-q_w8", "nXDZ4H"),
    "a bearer": ("Authorization: Bearer abc.def", "abc.def"),
    "a bearer in a list": ("[(b'authorization', b'Basic dXNlcjpwYXNz')]", "dXNlcjpwYXNz"),
    "a URL": ("cannot connect to postgresql://treasury:hunter2@db:5432/x", "hunter2"),
    "a URL with an odd password": ("redis://:p/w:2@3@cache:6379", "p/w:2@3"),
    "a conninfo": ("host=db user=treasury password=hunter2", "hunter2"),
    "a JSON field": ('{"api_key_pepper": "hunter2"}', "hunter2"),
    "a South African telephone": ("called 0821234567", "0821234567"),
    "an international telephone": ("called +27821234567.", "27821234567"),
    "a bare telephone": ("mobile_number 27821234567", "27821234567"),
    "a mail address": ("from someone@example.com", "someone"),
    **{name: (f"paid with {number}", number) for name, number in CARDS.items()},
    "a card in groups": ("paid with 4111 1111 1111 1111", "4111 1111 1111 1111"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_masked_wherever_it_stands(name: str) -> None:
    text, secret = SECRETS[name]
    for line in (text, f"{text}, and more", f'"{text}"', f"({text})"):
        assert secret not in mask_forms(line)


@pytest.mark.parametrize(
    "text",
    [
        "01a20733-cc6b-74a3-a860-71497a499eb9",
        "4111111111111112",  # no check digit
        "2026-11-23T07:44:56.730000Z",
        "http://127.0.0.1:8400/docs",
        "/srv/treasury/api/transactions/writer.py:120 _flush",
        "120.50 ZAR in 1234567 rows",
        "duration 12345.678901234567",
    ],
)
def test_what_is_no_secret_is_left(text: str) -> None:
    assert mask_forms(text) == text


@given(st.text(max_size=200))
def test_masking_never_fails_and_is_done_once(text: str) -> None:
    assert mask_forms(mask_forms(text)) == mask_forms(text)


PROGRAM = """
import logging, sys
from api.logs.json_lines import capture_all_logs, write_json_lines
logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler(sys.stdout))
write_json_lines("INFO")
capture_all_logs("INFO")
for name in ("", "uvicorn.error", "uvicorn.access", "psycopg.pool", "treasury.api", "someone.elses"):
    logger = logging.getLogger(name)
    logger.warning("failed for %s at %s", "trk_3f9e54ac4ec1_nXDZ4H", "postgresql://u:hunter2@db/x")
    try:
        raise ValueError("DETAIL: row contains (4111111111111111, 0821234567)")
    except ValueError:
        logger.exception("it broke")
"""


def test_every_logger_of_the_process_is_masked_and_writes_json() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert [line["logger"] for line in lines[::2]] == [
        "root",
        "uvicorn.error",
        "uvicorn.access",
        "psycopg.pool",
        "treasury.api",
        "someone.elses",
    ]
    assert done.stderr == ""
    for secret in ("nXDZ4H", "hunter2", "4111111111111111", "0821234567", "Traceback"):
        assert secret not in done.stdout


@pytest.mark.heavy("what the logs mask is tested beside it")
def test_the_server_writes_no_access_log_of_its_own(ready: Any) -> None:
    """Its lines have the query in them. uvicorn writes them as soon as the logger finds any handler."""
    script = (
        "import logging; from api import serve; from config import load_settings\n"
        "serve.make_config(load_settings(), 0).configure_logging()\n"
        "print(logging.getLogger('uvicorn.access').hasHandlers(), logging.getLogger('uvicorn.error').hasHandlers())"
    )
    environment = {**os.environ, **ready.environment()}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.heavy("what the logs mask is tested beside it")
def test_the_processes_of_the_api_start_with_these_logs(ready: Any) -> None:
    """A setting that is wrong is named and its value is not shown; the exit code tells what kind of error it is."""
    environment = {**os.environ, "TREASURY_DATABASE_URL": "mysql://u:hunter2@db/x"}
    command = [sys.executable, "-m", "api.serve", "--port", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 78
    assert "TREASURY_DATABASE_URL" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS)
def test_a_card_number_is_known_by_issuer_length_and_check_digit(number: str) -> None:
    assert is_card_number(number)
    assert not is_card_number(number[:-1] + str((int(number[-1]) + 1) % 10))
    assert not is_card_number("9" + number[1:])
    assert not is_card_number(number + "00000")


@given(st.text("0123456789", min_size=12, max_size=18))
def test_of_ten_last_digits_one_is_the_check_digit(digits: str) -> None:
    assert sum(passes_luhn(digits + last) for last in "0123456789") == 1


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("field", FREE_TEXTS)
def test_a_card_number_in_a_free_text_is_refused_by_name(field: str, number: str) -> None:
    for value in (number, f"card {number}.", f"card:{number[:4]} {number[4:]}", " ".join(number)):
        text = {"deep": [{"er": value}]} if field == "metadata" else value
        with pytest.raises(FieldError) as refused:
            refuse_card_numbers({field: text}, Refusal.REFUSE)
        assert refused.value.field == field
        assert number not in str(refused.value)


@pytest.mark.parametrize("field", REFERENCES)
def test_a_reference_may_look_like_a_card_but_not_be_written_as_one(field: str) -> None:
    refuse_card_numbers({field: CARDS["visa"]}, Refusal.REFUSE)
    for written in ("4111-1111-1111-1111", "card 4111 1111 1111 1111", "3782 822463 10005", "3056 930902 5904"):
        with pytest.raises(FieldError):
            refuse_card_numbers({field: written}, Refusal.REFUSE)
    with pytest.raises(FieldError):
        refuse_card_numbers({field: CARDS["visa"]}, Refusal.STRICT)


def test_a_number_in_metadata_is_looked_at_too() -> None:
    with pytest.raises(FieldError):
        refuse_card_numbers({"metadata": {"card": 378282246310005}}, Refusal.REFUSE)
    with pytest.raises(FieldError):
        refuse_card_numbers({"metadata": {CARDS["visa"]: True}}, Refusal.REFUSE)


@pytest.mark.parametrize(
    "values",
    [
        {"description": "order 4111111111111112 of 2026-11-23"},
        {"description": "01a20733-4111-1111-1111-111111111111"},
        {"description": "id4111111111111111"},
        {"description": "+27821234567"},
        {"description": None},
        {"metadata": {"flag": True, "amount": 12.5, "order": "1234567890123"}},
        {"user_id": CARDS["visa"]},
    ],
)
def test_what_is_no_card_number_is_stored(values: dict[str, Any]) -> None:
    refuse_card_numbers(values, Refusal.REFUSE)


def test_cards_are_accepted_where_somebody_decided_so() -> None:
    refuse_card_numbers({"description": CARDS["visa"]}, Refusal.ACCEPT)


def test_the_filter_can_be_seen_to_fail() -> None:
    """A logger without our handler does write what it is given: the tests above look at something."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "key %s", ("trk_3f9e54ac4ec1_nXDZ4H",), None)
    assert "nXDZ4H" in logging.Formatter().format(record)
