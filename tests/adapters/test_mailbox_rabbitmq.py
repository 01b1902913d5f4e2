"""What only RabbitMQ can show of the mailbox: losses, what is parked, who is answered."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from amqpstorm.exception import AMQPError

from pipeline.domain.errors import Flaw, Rejected
from pipeline.ports import Delivery
from tests.broker_worlds import RealWorld, real_world
from tests.servers import Servers
from tests.support import eventually

BAD = Rejected("invalid", Flaw("/delay", "must not be negative"))
NOWHERE = "amqp://guest:guest@127.0.0.1:1/"


@pytest.fixture(scope="module")
def amqp_url(servers: Servers) -> str:
    """One vhost for all: `real_world` empties its queues. Making a vhost takes a second."""
    return servers.fresh_amqp_url()


@pytest_asyncio.fixture
async def world(amqp_url: str) -> AsyncIterator[RealWorld]:
    async with real_world(amqp_url) as real:
        yield real


async def test_the_mailbox_survives_the_deletion_of_its_queue(world: RealWorld) -> None:
    """The broker only cancels the consumer; channel and connection stay, and nothing comes."""
    await world.send(b"1")
    await world.mailbox.ack(await take(world))
    await world.as_stranger(lambda channel: channel.queue.delete("dueq.submit"))
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(take(world))
        await eventually(lambda: sent(world, b"2"))
    assert taking.result()[0].body == b"2"


async def test_the_mailbox_consumes_again_after_every_loss(world: RealWorld) -> None:
    for number in range(3):
        await world.send(b"%d" % number)
        (delivery,) = await take(world)
        await world.mailbox.ack([delivery])
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(take(world))
            await asyncio.sleep(0.02)
            world.mailbox_cable.cut()
            await world.send(b"next")
        await world.mailbox.ack(taking.result())


async def test_the_mailbox_waits_for_a_broker_that_is_not_there_yet(world: RealWorld) -> None:
    world.mailbox_cable.lead_to(NOWHERE)
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(take(world))
        await asyncio.sleep(0.3)
        assert not taking.done()
        world.mailbox_cable.lead_to(world.url)
        await world.send(b"at last")
    assert taking.result()[0].body == b"at last"


async def test_giving_back_a_connection_that_does_not_answer_ends(world: RealWorld) -> None:
    await world.send(b"held")
    await take(world)
    world.mailbox_cable.stall()
    async with asyncio.timeout(20):
        await world.mailbox.give_back()
    world.mailbox_cable.flow()
    world.mailbox_cable.cut()
    assert (await take(world))[0].body == b"held"


async def test_a_parked_message_keeps_its_properties_but_those_that_would_undo_it(
    world: RealWorld,
) -> None:
    """`expiration` would delete it, `user_id` would be refused and close the channel."""
    await world.send(
        b"bad",
        message_id="m-1",
        app_id="shop",
        expiration="100000",
        user_id="guest",
        headers={"tenant": "a", "nested": {"x": [1, "two"]}},
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    )
    (delivery,) = await take(world)
    await world.mailbox.park(delivery, b"bad", BAD)
    (letter,) = await world.parked()
    assert (letter.properties["message_id"], letter.properties["app_id"]) == ("m-1", "shop")
    assert not letter.properties.get("expiration")
    assert not letter.properties.get("user_id")
    assert letter.headers["tenant"] == "a"
    assert letter.properties["delivery_mode"] == 2


async def test_headers_too_large_to_be_written_again_are_left_out(world: RealWorld) -> None:
    """A header frame beyond the frame size closes the connection: the same message would then
    come again, for ever."""
    await world.send(b"bad", headers={"padding": "x" * 120_000})
    (delivery,) = await take(world)
    await world.mailbox.park(delivery, b"bad", BAD)
    (letter,) = await world.parked()
    assert "padding" not in letter.headers
    assert letter.headers["dueq-code"] == "invalid"


async def test_a_reply_reaches_who_asked(world: RealWorld) -> None:
    await world.send(b"{}", reply_to="answers", correlation_id="c-1")
    (delivery,) = await take(world)
    await world.mailbox.reply(delivery, b'{"accepted":1}')
    (letter,) = await eventually(world.replies)
    assert letter.body == b'{"accepted":1}'
    assert letter.properties["correlation_id"] == "c-1"


@pytest.mark.parametrize("target", ["no.such.queue", "dueq.submit", "amq.rabbitmq.reply-to.x"])
async def test_a_reply_that_cannot_be_delivered_harms_nothing(
    world: RealWorld, target: str
) -> None:
    """Replies into our own queue would be taken for jobs."""
    await world.send(b"{}", reply_to=target)
    (delivery,) = await take(world)
    await world.mailbox.reply(delivery, b'{"accepted":1}')
    await world.mailbox.ack([delivery])
    await world.send(b"2")
    assert [each.body for each in await take(world)] == [b"2"]


async def test_a_senders_own_delivery_count_is_not_believed(world: RealWorld) -> None:
    await world.send(b"{}", headers={"x-delivery-count": "many"})
    assert (await take(world))[0].times == 1


async def take(world: RealWorld) -> list[Delivery]:
    async with asyncio.timeout(10):
        return list(await world.mailbox.take(1000))


async def sent(world: RealWorld, body: bytes) -> bool:
    """Whether a stranger's message found a queue."""
    try:
        await world.send(body)
    except AMQPError:
        return False
    return True
