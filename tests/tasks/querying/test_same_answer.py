"""The same question has the same answer in every tier, and PostgreSQL's where the dialects mean the same."""

import os
from collections.abc import Iterator, Sequence
from uuid import UUID

import duckdb
import psycopg
import pytest

from ledger.errors import DataError
from tasks.querying.query import Answer, run_query
from tests.examples import THOROUGH
from tests.tasks.querying.conftest import Place
from tests.tasks.querying.placements import ALL_ODD, PLACES, Placements, comparable
from tests.tasks.querying.questions import Question, Questioner

_FEW = 40
_SAMPLE = 150
_PART = 1_000
_PARTS = 20  # each takes about a minute of an idle core


@pytest.fixture(scope="module")
def placed(place: Place) -> Iterator[Placements]:
    with place(ALL_ODD) as placed:
        yield placed


def answers_of(placed: Placements, question: Question, places: Sequence[str] = PLACES) -> dict[str, list[str]]:
    """The answer in each of ``places``, and PostgreSQL's. An error is an answer too, as long as it is everywhere."""
    answers = {}
    for place in places:
        try:
            answers[place] = comparable(placed.answer(place, question.sql), question.is_ordered)
        except duckdb.Error as error:
            answers[place] = [kind_of(error)]
    if question.is_common and ["too large"] not in answers.values():  # PostgreSQL's numbers have no end
        try:
            answers["PostgreSQL"] = comparable(placed.plain(question.sql), question.is_ordered)
        except psycopg.DataError as error:
            answers["PostgreSQL"] = [kind_of(error)]
    return answers


def kind_of(error: duckdb.Error | psycopg.Error | DataError) -> str:
    """What is wrong with a question: a number that is too large, in whatever engine's words, or anything else."""
    is_overflow = isinstance(error, duckdb.OutOfRangeException | duckdb.ConversionException | psycopg.DataError)
    is_named = any(words in str(error) for words in ("more than 38 digits", "Out of Range Error", "Conversion Error"))
    return "too large" if is_overflow or is_named else f"{type(error).__name__}: {error}"


def _check(placed: Placements, seed: str, count: int) -> None:
    """Ask ``count`` questions of every placement, and of PostgreSQL."""
    questioner = Questioner(seed, placed.ids)
    for number in range(count):
        question = questioner.question()
        answers = answers_of(placed, question)
        assert len({tuple(rows) for rows in answers.values()}) == 1, f"{seed} {number}: {question.sql}\n{answers}"


# The examples of public reports and of this fuzz: each was another answer in another tier.
_EXAMPLES = [
    "SELECT reference, id FROM {q} ORDER BY reference NULLS FIRST, id LIMIT 3",
    "SELECT reference, id FROM {q} ORDER BY reference DESC NULLS FIRST, id LIMIT 31",
    "SELECT id FROM {q} ORDER BY created_at NULLS FIRST, id LIMIT 7",
    "SELECT id FROM {q} ORDER BY stamp NULLS FIRST, id LIMIT 7 OFFSET 3",
    "SELECT id, big FROM {q} WHERE num > 0 ORDER BY big NULLS FIRST, id LIMIT 5",
    'SELECT count(*) FROM {q} WHERE meta > \'{"n": "2"}\'',
    "SELECT id FROM {q} WHERE meta = '{\"n\": 1}' OR meta < '[]'",
    "SELECT id FROM {q} WHERE reference > 'r'",
    "SELECT id FROM {q} WHERE wallet BETWEEN 'W' AND 'w'",
    "SELECT id FROM {q} WHERE wallet = 'wallet-1 '",
    "SELECT id, json_exact(meta, 'n'), json_exact(meta, 'a', 'b'), json_exact(meta, 'a', 'b', '1') FROM {q}",
    "SELECT count(*) FROM {q} WHERE json_exact(meta, 'n') = '1.50'",
    "SELECT max(reference), min(wallet), max(meta) FROM {q}",
    "SELECT a.id, b.id FROM {q} AS a JOIN {p} AS b ON a.wallet = b.wallet AND a.meta > b.meta",
]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("sql", _EXAMPLES)
def test_order_and_comparison_do_not_depend_on_the_tier(placed: Placements, sql: str) -> None:
    """As PostgreSQL answers it over texts in the order of their bytes."""
    answers = answers_of(placed, Question(sql, is_common=True, is_ordered="ORDER BY" in sql))
    assert answers["PostgreSQL"]
    assert answers == dict.fromkeys(answers, answers["PostgreSQL"])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("sql", [_EXAMPLES[0], _EXAMPLES[2], _EXAMPLES[5]])
def test_nor_do_they_through_the_whole_of_treasury_sql(placed: Placements, sql: str) -> None:
    is_ordered = "ORDER BY" in sql
    wanted = comparable(placed.plain(sql), is_ordered)
    for place in PLACES:
        with run_query(placed.settings, sql.replace("{q}", f"q_{place}").replace("{p}", f"p_{place}")) as answer:
            rows = [tuple(row.values()) for row in answer.batches.read_all().rename_columns(_names(answer)).to_pylist()]
        assert comparable(rows, is_ordered) == wanted, place


def _names(answer: Answer) -> list[str]:
    return [str(number) for number in range(len(answer.batches.schema))]


def test_postgresql_chooses_rows_by_time_key_and_wallet(placed: Placements) -> None:
    by_id = placed.asked("hot", f"SELECT * FROM {{q}} WHERE id = '{placed.ids[0]}'")
    assert by_id
    assert all("postgres_query(" in one and UUID(placed.ids[0]).hex in one for one in by_id)
    by_ids = placed.asked("warm", f"SELECT * FROM {{q}} WHERE id IN ('{placed.ids[0]}', '{placed.ids[1]}')")
    assert by_ids
    assert all(" IN (" in one for one in by_ids)
    by_time = placed.asked("hot", "SELECT num FROM {q} WHERE created_at >= '2026-02-03' AND created_at < '2026-02-04'")
    assert len(by_time) == 2  # the month, and the DEFAULT partition, which may have any
    assert all("2026-02-03" in one and "2026-02-04" in one for one in by_time)
    assert all("wallet-1" in one for one in placed.asked("hot", "SELECT sum(num) FROM {q} WHERE wallet = 'wallet-1'"))
    twice = "SELECT * FROM {q} AS a, {q} AS b WHERE a.wallet = 'wallet-1' AND b.wallet = 'wallet-2' AND a.num = b.num"
    assert all(" OR " in one for one in placed.asked("hot", twice))


@pytest.mark.parametrize(
    "condition",
    [
        "reference > 'R'",
        "meta = '{}'",
        "wallet LIKE 'w%'",
        "wallet <> 'x'",
        "num = 1",
        "id > 'a0000000-0000-7000-8000-000000000000'",
        "wallet = 'x' OR wallet IS NULL",
        "upper(wallet) = 'X'",
        "month = '2026-01'",
        "stamp > '2026-01-01'",
        "true",
    ],
)
def test_what_the_engines_may_judge_differently_is_not_left_to_postgresql(placed: Placements, condition: str) -> None:
    asked = placed.asked("hot", f"SELECT * FROM {{q}} WHERE {condition}")
    assert asked
    assert not any("postgres_query(" in one for one in asked)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("factor", [2, 3, 9, 100])
def test_a_sum_beyond_38_digits_is_an_error_and_never_wraps_around(placed: Placements, factor: int) -> None:
    (exact,) = placed.plain("SELECT sum(rate) FROM {q} WHERE rate > 1")[0]
    assert exact * factor > 2 * 10**28  # the type has 28 digits before the point
    for place in PLACES:
        with (
            pytest.raises(DataError, match=r"SQL: .*([Oo]verflow|more than 38 digits)"),
            run_query(placed.settings, f"SELECT sum(rate) FROM q_{place}, range({factor}) WHERE rate > 1") as answer,
        ):
            answer.batches.read_all()


@pytest.mark.parametrize("questions", [_FEW, pytest.param(_SAMPLE, marks=pytest.mark.heavy("the few are of these"))])
def test_random_questions_have_one_answer_wherever_the_rows_are(placed: Placements, questions: int) -> None:
    _check(placed, "sample", questions)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(THOROUGH not in os.environ, reason="20,000 questions, for `make test-all`")
@pytest.mark.parametrize("part", range(_PARTS))
def test_thousands_of_random_questions_have_one_answer_wherever_the_rows_are(place: Place, part: int) -> None:
    """Each part has rows, and odd months, of its own."""
    with place(f"part {part}") as placed:
        _check(placed, f"part {part}", _PART)
