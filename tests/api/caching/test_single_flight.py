"""Callers that ask for the same thing at the same time share one piece of work."""

import asyncio

import pytest

from api.caching.single_flight import SingleFlight
from tests.api.caching.processes import run


class Work:
    """Counts how often it was started; ends when it may."""

    def __init__(self) -> None:
        self.starts = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.starts += 1
        number = self.starts
        await self.may_end.wait()
        return number


def test_each_key_has_work_of_its_own() -> None:
    async def test() -> None:
        flights, work = SingleFlight[str, int](), Work()
        callers = [asyncio.create_task(flights.share(key, work)) for key in "aabb"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.may_end.set()
        assert await asyncio.gather(*callers) == [1, 1, 2, 2]
        assert not flights.running

    run(test())


def test_released_work_ends_for_its_callers_and_later_callers_start_new_work() -> None:
    async def test() -> None:
        flights, work = SingleFlight[str, int](), Work()
        early = asyncio.create_task(flights.share("a", work))
        await asyncio.sleep(0)
        flights.release("a")
        flights.release("a")
        late = asyncio.create_task(flights.share("a", work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(flights.running) == 2
        joined = flights.joinable("a")
        work.may_end.set()
        assert (await early, await late) == (1, 2)
        assert joined is not None
        assert joined.result() == 2

    run(test())


def test_an_error_that_every_caller_gave_up_on_is_kept_for_nobody() -> None:
    async def test() -> None:
        flights = SingleFlight[str, int]()
        may_end = asyncio.Event()

        async def fails() -> int:
            await may_end.wait()
            raise ValueError("this one fails")

        caller = asyncio.create_task(flights.share("a", fails))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        may_end.set()
        while flights.running:
            await asyncio.sleep(0)
        work = Work()
        work.may_end.set()
        assert await flights.share("a", work) == 1

    run(test())
