"""One suite for intake and mailbox, on the fake broker and on RabbitMQ."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from pipeline.domain.errors import Flaw, Rejected
from pipeline.ports import Delivery
from tests.broker_worlds import FakeWorld, World, real_world
from tests.builders import a_submission
from tests.servers import Servers

BAD = Rejected("invalid", Flaw("/delay", "must not be negative"))


@pytest.fixture(scope="module")
def amqp_url(servers: Servers) -> str:
    """One vhost for all: `real_world` empties its queues. Making a vhost takes a second."""
    return servers.fresh_amqp_url()


@pytest_asyncio.fixture(params=["fake", "real"])
async def world(request: pytest.FixtureRequest, amqp_url: str) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    async with real_world(amqp_url) as real:
        yield real


async def test_what_is_published_arrives_once_and_in_order(world: World) -> None:
    submissions = [a_submission(payload=number) for number in range(1200)]
    await world.intake.publish(submissions)
    arrived = await take_jobs(world, 1200)
    assert [job["id"] for job in arrived] == [submission.id for submission in submissions]


async def test_a_message_of_the_gateway_says_so_by_its_routing_key(world: World) -> None:
    await world.intake.publish([a_submission(payload="mine")])
    (delivery,) = await take(world, 1)
    assert (delivery.routing_key, delivery.content_type) == ("job.accepted", "application/json")


async def test_a_message_of_a_stranger_keeps_what_identifies_it(world: World) -> None:
    await world.send(b"{}", message_id="order-7", reply_to="answers", correlation_id="c-1")
    (delivery,) = await take(world, 1)
    assert delivery.body == b"{}"
    assert delivery.routing_key == "job.submit"
    assert (delivery.message_id, delivery.reply_to) == ("order-7", "answers")
    assert (delivery.correlation_id, delivery.times) == ("c-1", 1)


async def test_take_brings_what_is_there_and_never_more_than_asked_for(world: World) -> None:
    for number in range(5):
        await world.send(b"%d" % number)
    first = await take(world, 3, limit=3)
    rest = await take(world, 2)
    assert [each.body for each in first + rest] == [b"0", b"1", b"2", b"3", b"4"]


async def test_take_waits_for_the_first_message(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(take(world, 1))
        await asyncio.sleep(0.05)
        assert not taking.done()
        await world.send(b"at last")
    assert [each.body for each in taking.result()] == [b"at last"]


async def test_what_is_given_back_comes_again_and_says_how_often(world: World) -> None:
    await world.send(b"again")
    for times in (1, 2, 3):
        (delivery,) = await take(world, 1)
        assert delivery.times == times
        await world.mailbox.give_back()


async def test_what_is_given_back_again_and_again_is_never_thrown_away(world: World) -> None:
    """H19: every requeue counts towards a queue's delivery limit, where it has one; beyond it, and
    without dead-lettering, the message is gone. Usual limits are 20 and less."""
    await world.send(b"patient")
    for times in range(1, 26):
        (delivery,) = await take(world, 1)
        assert (delivery.body, delivery.times) == (b"patient", times)
        await world.mailbox.give_back()
    assert await world.parked() == []


async def test_what_is_acknowledged_does_not_come_again(world: World) -> None:
    for number in range(4):
        await world.send(b"%d" % number)
    deliveries = await take(world, 4)
    await world.mailbox.ack(deliveries[:2])
    await world.mailbox.give_back()
    assert {each.body for each in await take(world, 2)} == {b"2", b"3"}


async def test_the_later_may_be_acknowledged_before_the_earlier(world: World) -> None:
    """A batch is stored while an older one still waits: only its own messages are gone."""
    for number in range(4):
        await world.send(b"%d" % number)
    deliveries = await take(world, 4)
    await world.mailbox.ack([deliveries[3], deliveries[1]])
    await world.mailbox.give_back()
    again = await take(world, 2)
    assert {each.body for each in again} == {b"0", b"2"}
    await world.mailbox.ack(again)
    await world.send(b"4")
    assert [each.body for each in await take(world, 1)] == [b"4"]


async def test_a_lost_connection_brings_back_what_was_held(world: World) -> None:
    await world.send(b"held")
    (before,) = await take(world, 1)
    await world.lose_connection()
    (after,) = await take(world, 1)
    assert (after.body, after.times) == (b"held", 2)
    assert after.token != before.token


async def test_an_answer_to_a_lost_connection_changes_nothing(world: World) -> None:
    """The old delivery's number means another message on the new connection: acknowledging by it
    would lose that one, or close the channel."""
    await world.send(b"held")
    before = await take(world, 1)
    await world.lose_connection()
    (after,) = await take(world, 1)
    await world.mailbox.ack(before)
    await world.mailbox.park(before[0], b"held", BAD)
    await world.mailbox.give_back()
    assert [each.body for each in await take(world, 1)] == [after.body]
    assert await world.parked() == []


async def test_acknowledging_twice_is_once(world: World) -> None:
    await world.send(b"1")
    first = await take(world, 1)
    await world.mailbox.ack(first)
    await world.mailbox.ack(first)
    await world.send(b"2")
    assert [each.body for each in await take(world, 1)] == [b"2"]


async def test_a_parked_message_says_why(world: World) -> None:
    await world.send(b'[{"delay":-1},{}]', message_id="order-7")
    (delivery,) = await take(world, 1)
    await world.mailbox.park(delivery, b'{"delay":-1}', BAD)
    (letter,) = await world.parked()
    assert letter.body == b'{"delay":-1}'
    assert letter.properties["message_id"] == "order-7"
    assert letter.headers["dueq-code"] == "invalid"
    assert letter.headers["dueq-error"] == "/delay: must not be negative"
    assert letter.headers["dueq-pointer"] == "/delay"


async def test_parking_is_no_acknowledgement(world: World) -> None:
    await world.send(b"bad")
    (delivery,) = await take(world, 1)
    await world.mailbox.park(delivery, delivery.body, BAD)
    await world.mailbox.give_back()
    assert [each.body for each in await take(world, 1)] == [b"bad"]


async def take(world: World, count: int, limit: int = 1000) -> list[Delivery]:
    """So many messages, as they come."""
    taken: list[Delivery] = []
    async with asyncio.timeout(10):
        while len(taken) < count:
            some = await world.mailbox.take(limit)
            assert 0 < len(some) <= limit
            taken += some
    assert len(taken) == count
    return taken


async def take_jobs(world: World, count: int) -> Sequence[dict[str, object]]:
    """So many jobs, from as many messages as it takes."""
    jobs: list[dict[str, object]] = []
    async with asyncio.timeout(10):
        while len(jobs) < count:
            deliveries = await world.mailbox.take(1000)
            jobs += [job for delivery in deliveries for job in json.loads(delivery.body)]
            await world.mailbox.ack(deliveries)
    return jobs
