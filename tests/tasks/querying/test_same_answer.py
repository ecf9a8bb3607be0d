"""The same question has the same answer hot, warm, cold and mixed, and PostgreSQL's where the dialects mean the same."""

import os
from collections.abc import Iterator

import duckdb
import psycopg
import pytest

from config import Settings
from tests.conftest import own_database
from tests.databases import Databases
from tests.examples import THOROUGH
from tests.tasks.querying.placements import PLACES, Placements, comparable, placements
from tests.tasks.querying.questions import Question, Questioner

_SAMPLE = 120
_PART = 2_500


@pytest.fixture(scope="module")
def placed(
    databases: Databases, server_settings: Settings, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Placements]:
    folder = tmp_path_factory.mktemp("placed")
    with (
        own_database(databases, server_settings, migrated, folder) as settings,
        placements(settings, folder / "archive") as placed,
    ):
        yield placed


def _answers(placed: Placements, question: Question) -> dict[str, list[str]]:
    """The answer in every placement, and PostgreSQL's. An error is an answer too, as long as it is everywhere."""
    answers = {}
    for place in PLACES:
        try:
            answers[place] = comparable(placed.answer(place, question.sql), question.is_ordered)
        except duckdb.Error as error:
            answers[place] = [type(error).__name__]
    if question.is_common and "Exception" not in answers["hot"][:1]:
        try:
            answers["PostgreSQL"] = comparable(placed.plain(question.sql), question.is_ordered)
        except psycopg.DataError as error:
            answers["PostgreSQL"] = [type(error).__name__]
    return answers


def _check(placed: Placements, seed: str, count: int) -> None:
    questioner = Questioner(seed, placed.ids)
    for number in range(count):
        question = questioner.question()
        answers = _answers(placed, question)
        assert len({tuple(rows) for rows in answers.values()}) == 1, f"{seed} {number}: {question.sql}\n{answers}"


def test_random_questions_have_one_answer_wherever_the_rows_are(placed: Placements) -> None:
    _check(placed, "sample", _SAMPLE)


@pytest.mark.slow
@pytest.mark.skipif(THOROUGH not in os.environ, reason="20,000 questions, for `make test-all`")
@pytest.mark.parametrize("part", range(8))
def test_thousands_of_random_questions_have_one_answer_wherever_the_rows_are(placed: Placements, part: int) -> None:
    _check(placed, f"part {part}", _PART)
