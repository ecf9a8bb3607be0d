"""The whole way of a question, with the cache of archived objects empty, full, and damaged while questions run."""

import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pyarrow as pa
import pytest

from ledger.errors import DataError
from tasks.querying.query import Querier
from tests.examples import THOROUGH
from tests.tasks.querying.conftest import Place
from tests.tasks.querying.placements import ALL_ODD, Placements, comparable
from tests.tasks.querying.questions import Questioner
from tests.tasks.querying.test_querier import damage
from tests.tasks.querying.test_same_answer import answers_of, kind_of

_FEW = 6
_MANY = 500
_THREADS = 4


@pytest.fixture(scope="module")
def placed(place: Place) -> Iterator[Placements]:
    with place(ALL_ODD) as placed:
        yield placed


class Asked:
    """Random questions, the place that each is asked of, and the answers that PostgreSQL or its rows give."""

    def __init__(self, placed: Placements, seed: str, count: int) -> None:
        self.placed, self._seed = placed, seed
        questioner = Questioner(seed, placed.ids)
        self.questions = [(questioner.question(), ("cold", "mixed")[number % 2]) for number in range(count)]

    def check(self, querier: Querier, number: int) -> None:
        """Ask one question: the answer must be that of the rows in PostgreSQL."""
        question, place = self.questions[number]
        wanted = answers_of(self.placed, question, ("hot",))
        self.compare(number, self.ask(querier, number), wanted)
        assert len({tuple(rows) for rows in wanted.values()}) == 1, f"{place}: {question.sql}"

    def compare(self, number: int, found: list[str], wanted: dict[str, list[str]]) -> None:
        question, place = self.questions[number]
        assert found == wanted["hot"], f"{self._seed} {number} {place}: {question.sql}"

    def ask(self, querier: Querier, number: int) -> list[str]:
        """The rows of an answer, or its error."""
        question, place = self.questions[number]
        sql = question.sql.replace("{q}", f"q_{place}").replace("{p}", f"p_{place}")
        try:
            with querier.answer(sql) as answer:
                return comparable(_rows(answer.batches.read_all()), question.is_ordered)
        except DataError as error:
            return [kind_of(error)]


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = [_values(column.combine_chunks()) for column in table.columns]
    return list(zip(*columns, strict=True))


def _values(column: pa.Array) -> list[Any]:
    """As Python has them. Integers of 128 bits come as bytes."""
    if getattr(column.type, "type_name", None) == "hugeint":
        return [
            None if one is None else int.from_bytes(one, "little", signed=True) for one in column.storage.to_pylist()
        ]
    values: list[Any] = column.to_pylist()
    return values


def _empty(querier: Querier, placed: Placements) -> None:
    querier.forget()
    shutil.rmtree(placed.settings.object_cache_folder, ignore_errors=True)


def _check_empty(asked: Asked) -> None:
    """Each question finds the cache empty."""
    with Querier(asked.placed.settings) as querier:
        for number in range(len(asked.questions)):
            _empty(querier, asked.placed)
            asked.check(querier, number)
        assert querier.fetched_bytes > 0


def _check_full(asked: Asked) -> None:
    """Each question is asked twice; the second time nothing is read from the store, and memory is empty."""
    with Querier(asked.placed.settings) as querier:
        for number in range(len(asked.questions)):
            asked.check(querier, number)
            fetched = querier.fetched_bytes
            querier.forget()
            asked.check(querier, number)
            assert querier.fetched_bytes == fetched, asked.questions[number]


def _check_damaged(asked: Asked) -> None:
    """Several questions at a time, and somebody who writes into the cache all the while."""
    count = len(asked.questions)
    wanted = [answers_of(asked.placed, question, ("hot",)) for question, _ in asked.questions]
    with Querier(asked.placed.settings) as querier, ThreadPoolExecutor(_THREADS) as threads:
        for number in range(count):
            asked.ask(querier, number)  # the cache is full
        with _damaging(asked.placed) as times:
            for first in range(0, count, _THREADS):
                querier.forget()  # what is in memory needs no cache
                some = range(first, min(first + _THREADS, count))
                for number, found in zip(some, threads.map(lambda n: asked.ask(querier, n), some), strict=True):
                    asked.compare(number, found, wanted[number])
        assert sum(times) > 0


@contextmanager
def _damaging(placed: Placements) -> Iterator[list[int]]:
    """Write nonsense into the cache until the block ends; gives how many times each round wrote."""
    ended, times, chance = Event(), [0], random.Random(14)  # noqa: S311  # a seed, not a secret

    def run() -> None:
        while not ended.wait(0.002):
            damage(placed.settings.object_cache_folder, chance)
            times.append(1)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run)
        try:
            yield times
        finally:
            ended.set()
            running.result()


_CACHES = {"empty": _check_empty, "full": _check_full, "damaged": _check_damaged}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("cache", ["damaged", "full", "empty"])
def test_random_questions_have_their_answer_whatever_the_cache_has(placed: Placements, cache: str) -> None:
    _CACHES[cache](Asked(placed, f"cache {cache}", _FEW))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(THOROUGH not in os.environ, reason="1,500 questions, for `make test-all`: some minutes")
@pytest.mark.parametrize("cache", _CACHES)
def test_many_random_questions_have_their_answer_whatever_the_cache_has(place: Place, cache: str) -> None:
    with place(f"cache {cache}") as placed:
        _CACHES[cache](Asked(placed, f"many {cache}", _MANY))
