"""Requests in flight at the same moment share one message and one confirm.

Take what is there, never wait for more: a lone request goes out at once, and while two publishes
are on their way the next requests gather. Each request is answered after the confirm of the publish
that carried it (R1). A client that goes away takes nothing from the others: its jobs are published
all the same, for they may already be on the wire.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipeline.domain.errors import DueQError, Unavailable
from pipeline.domain.job import Submission
from pipeline.ports import Intake
from pipeline.telemetry import log

MAX_JOBS = 500
IN_FLIGHT = 2
_log = log(__name__)
_End = DueQError | None


@dataclass(frozen=True, slots=True)
class _Waiting:
    submissions: Sequence[Submission]
    end: asyncio.Future[_End]


class Coalescer:
    """Stands before an intake; `running` must be entered for anything to be published."""

    def __init__(
        self, intake: Intake, max_jobs: int = MAX_JOBS, in_flight: int = IN_FLIGHT
    ) -> None:
        self._intake = intake
        self._max_jobs = max_jobs
        self._in_flight = in_flight
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish while inside."""
        async with asyncio.TaskGroup() as group:
            senders = [group.create_task(self._send()) for _ in range(self._in_flight)]
            try:
                yield
            finally:
                for sender in senders:
                    sender.cancel()

    async def publish(self, submissions: Sequence[Submission]) -> None:
        """As `Intake.publish`; returns or raises when the shared publish has ended."""
        end: asyncio.Future[_End] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(submissions, end))
        self._arrived.set()
        error = await end
        if error is not None:
            raise error.with_traceback(None)

    async def _send(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._gather()
            if not batch:
                self._arrived.clear()
                continue
            end = await self._publish([one for each in batch for one in each.submissions])
            for each in batch:
                if not each.end.done():  # its client went away
                    each.end.set_result(end)

    def _gather(self) -> list[_Waiting]:
        """The oldest, and what fits beside it; one that is larger than a message goes alone."""
        batch: list[_Waiting] = []
        room = self._max_jobs
        while self._waiting and (not batch or len(self._waiting[0].submissions) <= room):
            batch.append(self._waiting.popleft())
            room -= len(batch[-1].submissions)
        return batch

    async def _publish(self, submissions: Sequence[Submission]) -> _End:
        try:
            await self._intake.publish(submissions)
        except DueQError as error:
            return error
        except Exception as error:  # a sender that dies would leave every later request waiting
            _log.exception("publish.failed", jobs=len(submissions), next="answered 503")
            return Unavailable("RabbitMQ", f"publishing failed: {type(error).__name__}")
        return None
