"""However many ask at once, the answer is made once."""

import asyncio

import pytest

from api.monitoring.shared_answer import SharedAnswer
from ledger.errors import TransientError


class Made:
    """Counts how often it was made; made when told, and failing when told."""

    def __init__(self) -> None:
        self.count = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.count += 1
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return self.count


def test_callers_at_the_same_time_share_one_answer() -> None:
    async def ask() -> None:
        made = Made()
        shared = SharedAnswer(made, 60)
        callers = [asyncio.create_task(shared.get()) for _ in range(100)]
        await asyncio.sleep(0)
        made.may_end.set()
        assert await asyncio.gather(*callers) == [1] * 100
        assert await shared.get() == 1

    asyncio.run(ask())


def test_an_answer_is_made_again_when_it_is_old() -> None:
    async def ask() -> None:
        made = Made()
        made.may_end.set()
        shared = SharedAnswer(made, 0)
        assert [await shared.get(), await shared.get()] == [1, 2]

    asyncio.run(ask())


def test_a_failure_is_told_to_all_who_waited_and_not_kept() -> None:
    async def ask() -> None:
        made = Made()
        made.error = TransientError("away")
        shared = SharedAnswer(made, 60)
        callers = [asyncio.create_task(shared.get()) for _ in range(3)]
        await asyncio.sleep(0)
        made.may_end.set()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TransientError] * 3
        made.error = None
        assert await shared.get() == 2

    asyncio.run(ask())


def test_who_gives_up_does_not_stop_it_for_the_others() -> None:
    async def ask() -> None:
        made = Made()
        shared = SharedAnswer(made, 60)
        impatient = asyncio.create_task(shared.get())
        patient = asyncio.create_task(shared.get())
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        made.may_end.set()
        assert await patient == 1

    asyncio.run(ask())


def test_a_recent_answer_is_returned_at_once_and_made_again_meanwhile() -> None:
    async def ask() -> None:
        made = Made()
        made.may_end.set()
        shared = SharedAnswer(made, 60)
        assert await shared.recent(0, 60) == 1
        made.may_end.clear()
        assert [await shared.recent(0, 60) for _ in range(3)] == [1, 1, 1]
        await asyncio.sleep(0)
        assert made.count == 2  # one at a time
        made.may_end.set()
        await asyncio.sleep(0.01)
        assert await shared.recent(60, 60) == 2

    asyncio.run(ask())


def test_an_answer_that_is_too_old_is_waited_for_and_its_failure_is_raised() -> None:
    async def ask() -> None:
        made = Made()
        made.may_end.set()
        shared = SharedAnswer(made, 60)
        assert await shared.recent(0, 60) == 1
        made.error = TransientError("away")
        assert await shared.recent(0, 60) == 1  # the failure is nobody's who did not wait
        await asyncio.sleep(0.01)
        with pytest.raises(TransientError):
            await shared.recent(0, 0)

    asyncio.run(ask())
