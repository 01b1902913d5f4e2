"""What `dueq parked` does while nobody is in a hurry, without any server."""

import asyncio
import threading
from collections.abc import Sequence
from typing import cast

from infra.cli.parked import _resubmit, _Wanted
from pipeline.broker.parked_queue import Parked, ParkedQueue


class OneMessage:
    """A queue with a message that will never be a job."""

    async def messages(self) -> Sequence[Parked]:
        return [Parked("a", {}, b"{", b"\0\0", 1)]


async def test_a_person_may_take_his_time_over_an_edit() -> None:
    """A loop that stood still would miss heartbeats: the broker hangs up, and the edit is lost."""
    is_done = threading.Event()

    def edit(parked: Parked) -> bytes:
        assert is_done.wait(5)
        return parked.body

    asyncio.get_running_loop().call_later(0.01, is_done.set)
    (row,) = await _resubmit(cast(ParkedQueue, OneMessage()), _Wanted(["a"]), edit)
    assert (row["id"], row["result"]) == ("a", "stays")
