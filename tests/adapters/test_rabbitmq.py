"""What only RabbitMQ can show of topology and intake: mandatory, confirms, losses of every kind."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from amqpstorm.channel import Channel
from amqpstorm.exception import AMQPChannelError
from amqpstorm.message import Message

from pipeline.broker.connection import connect
from pipeline.broker.publisher import RabbitIntake
from pipeline.broker.topology import check_broker, declare_topology
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.errors import Unavailable, UnknownOutcome
from tests.broker_worlds import RealWorld, real_world
from tests.builders import a_submission
from tests.cable import Cable
from tests.fakes.clock import ManualClock
from tests.servers import Servers
from tests.support import eventually

NOWHERE = "amqp://guest:guest@127.0.0.1:1/"


@pytest.fixture(scope="module")
def amqp_url(servers: Servers) -> str:
    """One vhost for all: `real_world` empties its queues. Making a vhost takes a second."""
    return servers.fresh_amqp_url()


@pytest.fixture
def empty_url(amqp_url: str, servers: Servers) -> str:
    """A vhost of its own, with nothing in it."""
    return servers.fresh_amqp_url()


@pytest_asyncio.fixture
async def world(amqp_url: str) -> AsyncIterator[RealWorld]:
    async with real_world(amqp_url) as real:
        yield real


def test_a_connection_that_failed_leaves_nothing_to_the_garbage_collector() -> None:
    """Where warnings are errors, one of its own would hit whichever test runs next."""

    async def fail() -> None:
        with pytest.raises(OSError):
            await connect(NOWHERE, "test")

    with warnings.catch_warnings(record=True) as seen, asyncio.Runner() as runner:
        warnings.simplefilter("always")
        runner.run(fail())
        asyncio.set_event_loop(None)
        gc.collect()  # while its loop is open and nobody's, as between two tests
    assert [str(each.message) for each in seen] == []


# ------------------------------------------------------------------------------------ topology


async def test_the_topology_is_exactly_what_the_interface_says(world: RealWorld) -> None:
    """Declared again with the documented arguments; any other argument would be a 406."""

    def declare(channel: Channel) -> None:
        for name, type_ in (("dueq.jobs", "topic"), ("dueq.events", "topic"),
                            ("dueq.delay", "topic")):  # fmt: skip
            channel.exchange.declare(name, type_, durable=True)
        channel.exchange.declare("dueq.parked", "fanout", durable=True)
        for queue in ("dueq.submit", "dueq.parked"):
            channel.queue.declare(queue, durable=True, arguments={"x-queue-type": "quorum"})

    await world.as_stranger(declare)


async def test_another_argument_is_refused_by_the_broker(world: RealWorld) -> None:
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 20}
    with pytest.raises(AMQPChannelError, match="PRECONDITION_FAILED"):
        await world.as_stranger(
            lambda channel: channel.queue.declare("dueq.submit", durable=True, arguments=arguments)
        )


async def test_a_first_declaration_waits_a_second_and_a_second_one_does_not(empty_url: str) -> None:
    """A broker killed right after declaring a quorum queue forgets what it confirmed."""
    clock = ManualClock()
    assert not (await check_broker(empty_url)).topology
    async with asyncio.TaskGroup() as group:
        first = group.create_task(declare_topology(empty_url, clock))
        await eventually(lambda: clock.sleeping == 1)
        assert not first.done()
        clock.advance(1.0)
    await declare_topology(empty_url, clock)  # would wait for ever
    assert (await check_broker(empty_url)).topology


async def test_the_doctor_sees_the_version_and_changes_nothing(empty_url: str) -> None:
    report = await check_broker(empty_url)
    assert report.product == "RabbitMQ"
    assert report.version[0].isdigit()
    assert not (await check_broker(empty_url)).topology


async def test_the_doctor_says_when_nobody_answers() -> None:
    with pytest.raises(Unavailable, match="RabbitMQ is unavailable"):
        await check_broker(NOWHERE)


# ------------------------------------------------------------------------------------- publish


async def test_a_job_is_persistent(world: RealWorld) -> None:
    await world.intake.publish([a_submission()])

    def look(channel: Channel) -> object:
        message = channel.basic.get("dueq.submit", no_ack=True)
        assert isinstance(message, Message)
        return message.properties["delivery_mode"]

    assert await world.as_stranger(look) == 2


async def test_a_publish_without_a_queue_is_refused_and_the_queue_is_made_again(
    world: RealWorld,
) -> None:
    """Without `mandatory` the broker would confirm and forget: a 202 for a job that is nowhere."""
    await world.as_stranger(lambda channel: channel.queue.delete("dueq.submit"))
    with pytest.raises(Unavailable) as refused:
        await world.intake.publish([a_submission()])
    assert not isinstance(refused.value, UnknownOutcome)
    await eventually(lambda: published(world))


async def test_before_the_broker_is_there_a_publish_is_refused_at_once() -> None:
    async with RabbitIntake(NOWHERE, 5.0, StoreClock(), SystemChance()) as intake:
        assert not intake.connected
        with pytest.raises(Unavailable, match="not connected") as refused:
            await intake.publish([a_submission()])
        assert not isinstance(refused.value, UnknownOutcome)


async def test_a_publish_that_is_cut_off_has_an_unknown_outcome(world: RealWorld) -> None:
    world.intake_cable.stall()
    async with asyncio.TaskGroup() as group:
        publishing = group.create_task(outcome(world))
        await asyncio.sleep(0.05)
        world.intake_cable.cut()
    assert publishing.result() is UnknownOutcome


async def test_no_confirm_in_time_is_an_unknown_outcome(world: RealWorld) -> None:
    world.intake_cable.stall()
    assert await outcome(world) is UnknownOutcome


async def test_a_connection_that_kept_us_waiting_is_replaced(world: RealWorld) -> None:
    world.intake_cable.stall()
    await outcome(world)
    world.intake_cable.flow()
    world.intake_cable.cut()
    await eventually(lambda: published(world))


async def test_the_intake_connects_again_after_a_loss(world: RealWorld) -> None:
    for _ in range(3):
        world.intake_cable.cut()
        await eventually(lambda: not world.intake.connected)
        await eventually(lambda: published(world))


async def test_a_cancelled_publish_is_cancelled(world: RealWorld) -> None:
    world.intake_cable.stall()
    publishing = asyncio.ensure_future(world.intake.publish([a_submission()]))
    await asyncio.sleep(0.05)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing


async def test_an_intake_ends_with_a_publish_still_waiting(amqp_url: str) -> None:
    async with Cable(amqp_url).laid() as cable:
        async with RabbitIntake(cable.url, 30.0, StoreClock(), SystemChance()) as intake:
            await eventually(lambda: intake.connected)
            cable.stall()
            publishing = asyncio.ensure_future(intake.publish([a_submission()]))
            await asyncio.sleep(0.05)
            cable.flow()
            cable.cut()
        with pytest.raises(UnknownOutcome):
            await publishing


async def published(world: RealWorld) -> bool:
    """Whether a publish goes through now."""
    try:
        await world.intake.publish([a_submission()])
    except Unavailable:
        return False
    return True


async def outcome(world: RealWorld) -> type[Unavailable] | None:
    """How a publish ended."""
    try:
        await world.intake.publish([a_submission()])
    except Unavailable as error:
        return type(error)
    return None
