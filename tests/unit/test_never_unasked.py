"""A loop of a process that ends by a cancel of nobody's is seen."""

import asyncio

import pytest

from infra.roles.running import never_unasked


async def ended_by_a_driver() -> None:
    """As aiormq ends the calls that wait for an answer when a broker falls silent."""
    raise asyncio.CancelledError


async def test_a_cancel_that_nobody_asked_for_fails_the_process() -> None:
    with pytest.raises(ExceptionGroup) as failure:
        async with asyncio.TaskGroup() as group:
            group.create_task(never_unasked(ended_by_a_driver()))
    assert "cancelled by nobody" in str(failure.value.exceptions[0])


async def test_a_cancel_that_was_asked_for_is_an_end() -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(never_unasked(asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


async def test_what_a_loop_raises_is_raised() -> None:
    async def broken() -> None:
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        await never_unasked(broken())
