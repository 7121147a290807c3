"""Tasks end, also where one cancellation is lost."""

from __future__ import annotations

import asyncio

from streams.ending import end


def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    lost: list[asyncio.CancelledError] = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                lost.append(error)
                if len(lost) == 2:
                    raise

    async def scenario() -> None:
        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await asyncio.wait_for(end(task, again_s=0.01), 5)
        assert task.cancelled()

    asyncio.run(scenario())
    assert len(lost) == 2


def test_one_that_failed_meanwhile_and_none_at_all_are_ends_too() -> None:
    async def failing() -> None:
        raise ValueError("broken")

    async def scenario() -> None:
        task = asyncio.create_task(failing())
        await asyncio.sleep(0)
        await end(task)
        await end()

    asyncio.run(scenario())
