"""How deep and how full JSON is, found exactly and quickly; the bytes of bodies that a process holds."""

import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from api.routing.bodies import Bodies
from api.routing.parsing import JSON_DEPTH, MOST_CONTAINERS, decode_object, query
from api.routing.problems import BAD_REQUEST, HttpError
from ledger.errors import FieldError, TransientError

_TEXT = st.text(alphabet='[]{}"\\,: a\n\u00e9')
_JSON = st.recursive(
    st.none() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


def depth(value: Any) -> int:
    """How deep a decoded value is, counted on the value itself."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def nested(levels: int, core: Any) -> dict[str, Any]:
    for _ in range(levels):
        core = [core]
    return {"a": core}


def refusal(body: bytes) -> str | None:
    """Why ``body`` is refused with 400; None when it is not."""
    try:
        decode_object(body)
    except HttpError as error:
        return str(error) if error.kind is BAD_REQUEST else None
    return None


@given(_JSON, st.integers(JSON_DEPTH - 8, JSON_DEPTH + 2), st.booleans())
@example(["\\"], JSON_DEPTH - 2, False)
@example(['\\"[['], JSON_DEPTH - 2, False)
@example({'"]]': "\\\\"}, JSON_DEPTH - 1, True)
@example("]" * 40, JSON_DEPTH, True)
@example("[" * 40, JSON_DEPTH - 1, True)
def test_depth_is_that_of_the_value_whatever_its_texts_hold(core: Any, levels: int, ascii_only: bool) -> None:
    value = nested(levels, core)
    refused = refusal(json.dumps(value, ensure_ascii=ascii_only).encode())
    expected = f"The body is nested more than {JSON_DEPTH} levels deep." if depth(value) > JSON_DEPTH else None
    assert refused == expected


@given(st.text(alphabet='[]{}"\\,:1x ', min_size=JSON_DEPTH))
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example('"' + "[" * 100_000)
def test_what_is_no_json_is_refused_and_breaks_nothing(text: str) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        assert refusal(text.encode()) is not None


def test_a_body_of_many_containers_is_refused_and_one_at_the_bound_is_not() -> None:
    def body(containers: int) -> bytes:
        return b'{"a": [' + b",".join([b"{}"] * (containers - 2)) + b'], "b": "[[[["}'

    assert refusal(body(MOST_CONTAINERS)) is None
    assert refusal(body(MOST_CONTAINERS + 1)) == f"The body has more than {MOST_CONTAINERS} objects and arrays."


@pytest.mark.parametrize("piece", [b"[],", b"[" * 29 + b"]" * 29 + b",", b'"\\"",', b'"",'])
def test_no_body_of_two_mebibytes_stalls_the_process(piece: bytes) -> None:
    """Measured on a quiet machine: at most 0.1 s, most of it to decode. Before, 0.5 to 0.9 s for the first two."""
    body = b'{"a": [' + b"[]," * JSON_DEPTH + piece * ((2 << 20) // len(piece)) + b"1]}"
    spent_s = []
    for _ in range(3):
        started_s = time.thread_time()
        refusal(body)
        spent_s.append(time.thread_time() - started_s)
    assert min(spent_s) < 0.4


def test_bodies_are_counted_until_they_are_given_back() -> None:
    bodies, first, second = Bodies(100), {}, {}  # type: Bodies, dict[str, Any], dict[str, Any]
    bodies.take(first, 60)
    bodies.take(first, 30)
    with pytest.raises(TransientError):
        bodies.take(second, 11)
    bodies.take(second, 10)
    bodies.give_back(first)
    bodies.give_back(first)
    assert bodies.held_bytes == 10
    bodies.take(second, 90)
    bodies.give_back(second)
    assert bodies.held_bytes == 0


@pytest.mark.parametrize("value", ["50%", "%zz", "%", "%E9", "a%2", "%c3", "%FF+"])
def test_a_value_that_two_readers_could_decode_in_two_ways_is_refused(value: str) -> None:
    request = Request({"type": "http", "query_string": f"wallet_id={value}".encode()})
    with pytest.raises(FieldError, match=r"^wallet_id: must be percent-encoded"):
        query(request, {"wallet_id"})


@given(st.text(max_size=20))
def test_an_encoded_value_is_decoded_to_itself(text: str) -> None:
    request = Request({"type": "http", "query_string": urlencode({"wallet_id": text}).encode()})
    assert query(request, {"wallet_id"}) == {"wallet_id": text}
