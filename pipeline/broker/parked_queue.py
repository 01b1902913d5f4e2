"""Looking through `dueq.parked`, and taking out of it what somebody decided about.

Messages are taken without being acknowledged, on a channel of their own: whatever was not taken out
is in the queue again when the channel ends, also when this process dies. Until then nobody else
sees them. A message is published again and confirmed before it is taken out: a crash between the
two leaves it in both places.

A quorum queue puts what comes back behind what came back before, and all that a closed channel held
in any order. So all are taken, sorted by when they were parked, and given back one by one in that
order: a look leaves the queue as it should be, whatever a crash did to it before.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from pipeline.broker.connection import (
    CALL_SECONDS,
    SERVER,
    broker_errors,
    connect,
    disconnect,
    open_channel,
)
from pipeline.broker.exact import Line, Returned, properties_of
from pipeline.broker.parked import PREFIX
from pipeline.broker.topology import JOBS, PARKED_QUEUE
from pipeline.domain.envelope import SUBMIT_KEY
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.fields import Header, read_table, write_table
from pipeline.domain.properties import (
    read_headers,
    read_properties,
    text_of,
    write_properties,
)

MOST, MOST_BYTES = 10_000, 512 * 1024 * 1024
"""So many are held at a time, which is what one process can have in memory."""
_RETURNS, _LOOKS = 16, 500
_OURS = (PREFIX, b"x-delivery-count")


@dataclass(frozen=True, slots=True)
class Parked:
    """One message; `notes` is what our headers say, without their prefix."""

    id: str
    notes: dict[str, str]
    body: bytes
    properties: bytes
    tag: int

    @property
    def exchange(self) -> str:
        """Where it is sent to be judged again."""
        return self.notes.get("exchange", JOBS)

    @property
    def routing_key(self) -> str:
        """The key for that."""
        return self.notes.get("routing-key", SUBMIT_KEY)

    @property
    def headers(self) -> dict[str, Any]:
        """Its sender's headers, as far as JSON can hold them."""
        return {n: v for n, v in read_headers(self.own_properties(None)) if n}

    def text(self, name: str) -> str | None:
        """A property of its sender's."""
        return text_of(read_properties(self.properties), name)

    def own_properties(self, message_id: str | None) -> bytes:
        """Its sender's properties without our notes; `message_id` is set where it had none."""
        return _own_properties(self.properties, message_id)


class ParkedQueue:
    """`open_parked` makes it."""

    def __init__(self, holding: AbstractChannel, line: Line) -> None:
        self._holding = holding
        self._line = line
        self._seen: dict[str, int] = {}
        self._held: list[Parked] = []

    async def waiting(self) -> int:
        """How many there are that nobody holds."""
        with broker_errors(Unavailable):
            async with asyncio.timeout(CALL_SECONDS):
                state = await self._holding.queue_declare(PARKED_QUEUE, passive=True)
        return state.message_count or 0

    async def messages(self) -> Sequence[Parked]:
        """Those that are there now, the oldest first; `MOST` of them, if there are more."""
        size = 0
        for _ in range(min(MOST, await self.waiting())):
            message = await self._next()
            if message is None or size > MOST_BYTES:
                break
            raw, _ = properties_of(message)
            notes = _notes(raw)
            name = notes.get("id") or self._digest(message.body + _own_properties(raw, None))
            assert message.delivery_tag is not None
            self._held.append(Parked(name, notes, message.body, raw, message.delivery_tag))
            size += len(message.body)
        self._held.sort(key=lambda parked: parked.notes.get("parked-at", ""))
        return tuple(self._held)

    async def _next(self) -> DeliveredMessage | None:
        with broker_errors(Unavailable):
            async with asyncio.timeout(CALL_SECONDS):
                message = await self._holding.basic_get(PARKED_QUEUE)
        return message if isinstance(message.delivery, Basic.GetOk) else None

    async def send_again(self, parked: Parked, body: bytes, message_id: str | None) -> None:
        """Publish it to where it is judged, confirmed, and take it out."""
        properties = parked.own_properties(message_id)
        try:
            with broker_errors(UnknownOutcome):
                async with asyncio.timeout(CALL_SECONDS):
                    await self._line.publish(body, parked.exchange, parked.routing_key, properties)
        except UnknownOutcome as error:
            if isinstance(error.__cause__, Returned):
                text = "the submit queue is missing: start dueq, which makes it"
                raise Unavailable(SERVER, text) from None
            raise
        await self.take_out(parked)

    async def take_out(self, parked: Parked) -> None:
        """It is no longer parked."""
        with broker_errors(UnknownOutcome):
            async with asyncio.timeout(CALL_SECONDS):
                await self._holding.basic_ack(parked.tag)
        self._held.remove(parked)

    async def give_back(self) -> None:
        """Everything that was not taken out, in its order; returns when the broker has done it.

        More returns than the broker's queue client sends at a time it gathers, and loses their
        order: so a few, and the next when those are seen to be back.
        """
        with broker_errors(Unavailable):
            there = await self.waiting() if self._held else 0
            for start in range(0, len(self._held), _RETURNS):
                some = self._held[start : start + _RETURNS]
                async with asyncio.timeout(CALL_SECONDS):
                    for parked in some:
                        await self._holding.basic_nack(parked.tag, requeue=True, wait=False)
                there += len(some)
                await self._see_back(there)
            async with asyncio.timeout(CALL_SECONDS):
                await self._holding.close()  # answered only after everything before it

    async def _see_back(self, number: int) -> None:
        """So many are in the queue, or somebody else has taken some: then they are not waited for.

        Each look is a round trip.
        """
        for _ in range(_LOOKS):
            if await self.waiting() >= number:
                return

    def _digest(self, content: bytes) -> str:
        """A name for one that bears none; of several that are the same, with their number."""
        digest = hashlib.sha256(content).hexdigest()[:12]
        self._seen[digest] = number = self._seen.get(digest, 0) + 1
        return digest if number == 1 else f"{digest}-{number}"


@asynccontextmanager
async def open_parked(url: str) -> AsyncIterator[ParkedQueue]:
    """The parked messages of this broker; raises `Unavailable`."""
    with broker_errors(Unavailable):
        connection = await connect(url, "parked")
    try:
        with broker_errors(Unavailable):
            holding = await open_channel(connection, confirms=False)
            line = Line(await open_channel(connection, confirms=True))
        queue = ParkedQueue(holding, line)
        try:
            yield queue
        finally:
            await queue.give_back()
    finally:
        await disconnect(connection)


def _notes(raw: bytes) -> dict[str, str]:
    prefix = PREFIX.decode()
    return {
        name.removeprefix(prefix): value
        for name, value in read_headers(raw)
        if name.startswith(prefix) and isinstance(value, str)
    }


def _own_properties(raw: bytes, message_id: str | None) -> bytes:
    values = read_properties(raw)
    entries = [each for each in read_table(values.pop("headers", b"")) if not _is_ours(each)]
    if entries:
        values["headers"] = write_table(entries)
    if message_id is not None:
        values.setdefault("message_id", message_id.encode())
    return write_properties(values)


def _is_ours(header: Header) -> bool:
    return header[0].startswith(_OURS)
