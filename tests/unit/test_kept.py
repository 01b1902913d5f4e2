"""Things that are opened at need, shared and kept: `pipeline.broker.kept`."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from pipeline.broker.kept import Kept, Shared
from pipeline.domain.errors import Unavailable

pytestmark = pytest.mark.unit


class Door:
    """One that can be opened and closed."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.is_open = True


class House:
    """Opens doors, when it may, and knows which it opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closing: list[str] = []
        self.closed: list[str] = []
        self.may_open, self.may_close = asyncio.Event(), asyncio.Event()
        self.may_open.set()
        self.may_close.set()
        self.is_locked = False

    async def open(self, key: str) -> Door:
        self.opened.append(key)
        await self.may_open.wait()
        if self.is_locked:
            raise Unavailable("the house", "locked")
        return Door(key)

    async def close(self, door: Door) -> None:
        self.closing.append(door.key)
        await self.may_close.wait()
        door.is_open = False
        self.closed.append(door.key)

    def doors(self, most: int = 2) -> Kept[str, Door]:
        return Kept(self.open, self.close, lambda door: door.is_open, most)


async def knock(doors: Kept[str, Door], key: str) -> Door:
    async with doors.use(key) as door:
        return door


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0)


async def long_enough() -> None:
    """For all that does not wait for anything."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_many_who_need_one_share_it() -> None:
    house = House()
    doors = house.doors()
    got = await asyncio.gather(*(knock(doors, "a") for _ in range(10)))
    assert len(set(got)) == 1
    assert house.opened == ["a"]


async def test_who_waits_for_one_that_cannot_be_opened_shares_the_failure() -> None:
    house = House()
    house.is_locked = True
    house.may_open.clear()
    doors = house.doors()
    knocks = [asyncio.ensure_future(knock(doors, "a")) for _ in range(10)]
    await until(lambda: house.opened == ["a"])
    house.may_open.set()
    ends = await asyncio.gather(*knocks, return_exceptions=True)
    assert [str(end) for end in ends] == ["the house is unavailable: locked"] * 10
    assert house.opened == ["a"]


async def test_who_comes_after_a_failure_tries_anew() -> None:
    house = House()
    house.is_locked = True
    doors = house.doors()
    with pytest.raises(Unavailable):
        await knock(doors, "a")
    house.is_locked = False
    assert (await knock(doors, "a")).is_open
    assert house.opened == ["a", "a"]


async def test_when_the_opener_is_cancelled_the_opening_goes_on_for_the_next() -> None:
    """What is given up half opened may cost more than itself."""
    house = House()
    house.may_open.clear()
    doors = house.doors()
    first, second = (asyncio.ensure_future(knock(doors, "a")) for _ in range(2))
    await until(lambda: house.opened == ["a"])
    first.cancel()
    house.may_open.set()
    assert (await second).is_open
    assert first.cancelled()
    assert house.opened == ["a"]


async def test_what_opens_for_nobody_any_more_is_kept_or_closed_like_all_others() -> None:
    house = House()
    house.may_open.clear()
    doors = house.doors()
    knocking = asyncio.ensure_future(knock(doors, "a"))
    await until(lambda: house.opened == ["a"])
    knocking.cancel()
    await asyncio.wait([knocking])
    closing = asyncio.ensure_future(doors.close())
    await long_enough()
    assert not closing.done()
    house.may_open.set()
    await closing
    assert house.closed == ["a"]


async def test_a_failure_that_nobody_waits_for_any_more_is_the_end_of_it() -> None:
    house = House()
    house.is_locked = True
    house.may_open.clear()
    doors = house.doors()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
    knocking = asyncio.ensure_future(knock(doors, "a"))
    await until(lambda: house.opened == ["a"])
    knocking.cancel()
    await asyncio.wait([knocking])
    house.may_open.set()
    await long_enough()
    house.is_locked = False
    assert (await knock(doors, "a")).is_open
    gc.collect()
    assert complaints == []


async def test_who_is_cancelled_while_one_is_closed_does_not_have_it_closed_twice() -> None:
    house = House()
    doors = house.doors()
    broken = await knock(doors, "a")
    broken.is_open = False
    house.may_close.clear()
    knocking = asyncio.ensure_future(knock(doors, "a"))
    await until(lambda: house.closing == ["a"])
    knocking.cancel()
    await asyncio.wait([knocking])
    house.may_close.set()
    assert (await knock(doors, "a")).is_open
    assert house.closing == ["a"]


async def test_one_that_is_of_no_more_use_is_closed_and_another_opened() -> None:
    house = House()
    doors = house.doors()
    broken = await knock(doors, "a")
    broken.is_open = False
    assert (await knock(doors, "a")).is_open
    assert (house.opened, house.closed) == (["a", "a"], ["a"])


async def test_of_those_that_nobody_uses_the_last_ones_are_kept() -> None:
    house = House()
    doors = house.doors(most=2)
    for key in "abac":
        await knock(doors, key)
    assert house.closed == ["b"]
    assert len(doors) == 2


async def test_of_those_that_cannot_be_opened_no_more_are_remembered() -> None:
    """Jobs for ever new exchanges that do not exist would else fill the memory."""
    house = House()
    house.is_locked = True
    doors = house.doors(most=2)
    for key in "abcdef":
        with pytest.raises(Unavailable):
            await knock(doors, key)
    assert len(doors) == 2


async def test_what_is_in_use_is_never_closed_however_many_there_are() -> None:
    house = House()
    doors = house.doors(most=1)
    async with doors.use("a") as first:
        for key in "bcd":
            await knock(doors, key)
        await doors.close_unused()
        await doors.close_unused()
        assert first.is_open
    assert house.closed == ["b", "c", "d"]


async def test_what_was_not_used_between_two_looks_is_closed() -> None:
    house = House()
    doors = house.doors(most=9)
    for key in "ab":
        await knock(doors, key)
    await doors.close_unused()
    assert house.closed == []
    await knock(doors, "a")
    await doors.close_unused()
    assert house.closed == ["b"]
    assert len(doors) == 1


async def test_who_is_cancelled_while_closing_leaves_it_to_the_next() -> None:
    house = House()
    doors = house.doors()
    door = await knock(doors, "a")
    house.may_close.clear()
    closing = asyncio.ensure_future(doors.close())
    await until(lambda: house.closing == ["a"])
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert door.is_open
    again = asyncio.ensure_future(doors.close())
    await long_enough()
    assert not again.done()
    house.may_close.set()
    await again
    assert (house.closing, house.closed) == (["a"], ["a"])


async def test_what_was_closed_can_be_opened_and_closed_again() -> None:
    house = House()
    door = Shared(lambda: house.open("a"), house.close, lambda door: door.is_open)
    for _ in range(2):
        assert (await door.get()).is_open
        await door.close()
    assert (house.opened, house.closed) == (["a", "a"], ["a", "a"])


async def test_doors_that_take_their_time_are_closed_side_by_side() -> None:
    house = House()
    doors = house.doors()
    for key in "ab":
        await knock(doors, key)
    house.may_close.clear()
    closing = asyncio.ensure_future(doors.close())
    await until(lambda: house.closing == ["a", "b"])
    house.may_close.set()
    await closing
    assert house.closed == ["a", "b"]
