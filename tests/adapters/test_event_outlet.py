"""Events on a real RabbitMQ, heard by another client library."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from amqpstorm.channel import Channel
from amqpstorm.uri_connection import UriConnection

from pipeline.broker.event_outlet import RabbitEventOutlet
from pipeline.broker.topology import declare_topology
from pipeline.clock import StoreClock
from pipeline.domain.errors import Unavailable
from pipeline.domain.lifecycle import JobEvent, Moment
from pipeline.domain.states import State
from tests.cable import Cable
from tests.support import eventually

AT = datetime(2026, 11, 21, 19, 0, tzinfo=UTC)


def events(count: int, state: State = State.DEAD, queue: str = "q") -> list[JobEvent]:
    fields = {"queue": queue, "attempt": 1, "name": "hello"}
    return [JobEvent(f"job-{n}", state, fields, Moment(1, n), AT) for n in range(count)]


@pytest.fixture
def channel(amqp_url: str) -> Iterator[Channel]:
    with UriConnection(amqp_url) as connection, connection.channel() as channel:
        yield channel


@pytest_asyncio.fixture
async def outlet(amqp_url: str) -> AsyncIterator[RabbitEventOutlet]:
    await declare_topology(amqp_url, StoreClock())
    outlet = RabbitEventOutlet(amqp_url, StoreClock())
    yield outlet
    await outlet.close()


def bind(channel: Channel, key: str, queue: str = "somebody") -> None:
    channel.queue.declare(queue, durable=True)
    channel.queue.bind(queue, "dueq.events", key)


def heard(channel: Channel, queue: str = "somebody") -> Sequence[Any]:
    messages = []
    while message := channel.basic.get(queue, no_ack=True):
        messages.append(message)
    return messages


def ids(messages: Sequence[Any]) -> list[str]:
    return [message.properties["headers"]["ce-id"] for message in messages]


async def test_an_event_is_a_persistent_cloudevent_in_binary_mode(
    outlet: RabbitEventOutlet, channel: Channel
) -> None:
    bind(channel, "#")
    assert await outlet.publish(events(1)) == 1

    (message,) = heard(channel)
    assert message.method["routing_key"] == "job.dead.q"
    assert message.properties["content_type"] == "application/json"
    assert message.properties["delivery_mode"] == 2
    assert message.properties["headers"] == events(1)[0].headers
    assert json.loads(message.body)["name"] == "hello"


async def test_all_are_told_in_order(outlet: RabbitEventOutlet, channel: Channel) -> None:
    bind(channel, "#")
    told = [*events(300, State.RUNNING), *events(300, State.DEAD)]

    assert await outlet.publish(told) == 600
    assert ids(heard(channel)) == [event.id for event in told]


async def test_who_binds_one_state_gets_that_and_the_rest_is_said_to_be_unheard(
    outlet: RabbitEventOutlet, channel: Channel
) -> None:
    bind(channel, "job.dead.#")

    assert await outlet.publish([*events(50, State.RUNNING), *events(50)]) == 50
    assert ids(heard(channel)) == [event.id for event in events(50)]


async def test_a_dead_job_whose_queue_nobody_knows_reaches_who_binds_the_dead(
    outlet: RabbitEventOutlet, channel: Channel
) -> None:
    bind(channel, "job.dead.#")

    await outlet.publish([JobEvent("gone", State.DEAD, {}, Moment(1, 1), AT)])
    assert len(heard(channel)) == 1


async def test_a_queue_that_is_bound_later_gets_what_is_told_later(
    outlet: RabbitEventOutlet, channel: Channel
) -> None:
    assert await outlet.publish(events(10)) == 0
    bind(channel, "#")
    assert await outlet.publish(events(10)) == 10
    assert len(heard(channel)) == 10


async def test_a_cut_cable_is_unavailable_and_the_next_try_connects_anew(
    amqp_url: str, channel: Channel
) -> None:
    await declare_topology(amqp_url, StoreClock())
    bind(channel, "#")
    async with Cable(amqp_url).laid() as cable:
        outlet = RabbitEventOutlet(cable.url, StoreClock())
        await outlet.publish(events(1))
        cable.cut()
        with pytest.raises(Unavailable):
            await outlet.publish(events(5))

        async def told() -> int:
            try:
                return await outlet.publish(events(5))
            except Unavailable:
                return 0

        assert await eventually(told) == 5
        assert {event.id for event in events(5)} == set(ids(heard(channel)))
        await outlet.close()


async def test_a_broker_that_does_not_answer_is_given_up_after_the_timeout(
    amqp_url: str,
) -> None:
    await declare_topology(amqp_url, StoreClock())
    async with Cable(amqp_url).laid() as cable:
        outlet = RabbitEventOutlet(cable.url, StoreClock(), timeout=0.5)
        await outlet.publish(events(1))
        cable.stall()
        with pytest.raises(Unavailable):
            await outlet.publish(events(5))
        cable.flow()
        await outlet.close()


async def test_an_exchange_that_was_deleted_is_made_again(
    outlet: RabbitEventOutlet, channel: Channel
) -> None:
    await outlet.publish(events(1))
    channel.exchange.delete("dueq.events")
    with pytest.raises(Unavailable):
        await outlet.publish(events(1))

    assert await outlet.publish(events(1)) == 0
    bind(channel, "#")
    assert await outlet.publish(events(1)) == 1
