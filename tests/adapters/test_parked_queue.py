"""Looking through the parked messages of a real RabbitMQ without losing or moving one."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from amqpstorm.channel import Channel

from pipeline.broker.mailbox import RabbitMailbox
from pipeline.broker.parked_queue import Parked, open_parked
from pipeline.broker.topology import declare_topology
from pipeline.clock import StoreClock, SystemChance
from pipeline.domain.errors import Flaw, Rejected, Unavailable
from pipeline.domain.identity import id_of_element
from pipeline.intake import Bad, Good, read_delivery
from pipeline.ports import Remains
from tests.broker_worlds import as_stranger
from tests.servers import Servers
from tests.support import eventually

BAD = Rejected("invalid", Flaw("/queue", "is none"))
CLOCK, CHANCE = StoreClock(), SystemChance()


@pytest.fixture(scope="module")
def amqp_url(servers: Servers) -> str:
    return servers.fresh_amqp_url()


@pytest_asyncio.fixture
async def mailbox(amqp_url: str) -> AsyncIterator[RabbitMailbox]:
    await declare_topology(amqp_url, CLOCK)

    def empty(channel: Channel) -> None:
        for queue in ("dueq.submit", "dueq.parked"):
            channel.queue.purge(queue)

    as_stranger(amqp_url, empty)
    mailbox = RabbitMailbox(amqp_url, CLOCK, CHANCE)
    yield mailbox
    await mailbox.close()


def send(url: str, body: bytes, exchange: str = "dueq.jobs", **properties: Any) -> None:
    def publish(channel: Channel) -> None:
        channel.confirm_deliveries()
        channel.basic.publish(body, "job.submit", exchange, properties, mandatory=True)

    as_stranger(url, publish)


async def park(
    mailbox: RabbitMailbox, url: str, body: bytes, remains: Remains | None = None, **sent: Any
) -> None:
    send(url, body, **sent)
    (delivery,) = await mailbox.take(1)
    await mailbox.park(delivery, body, BAD, remains)
    await mailbox.ack([delivery])


async def seen(url: str) -> Sequence[Parked]:
    async with open_parked(url) as queue:
        return await queue.messages()


def in_the_queue(url: str) -> list[bytes]:
    """As another client gets them; put back by its channel's end."""

    def look(channel: Channel) -> list[bytes]:
        got = iter(lambda: channel.basic.get("dueq.parked", auto_decode=False), None)
        return [bytes(message.body) for message in got]

    return as_stranger(url, look)


def waits(url: str, number: int) -> bool:
    def count(channel: Channel) -> int:
        return int(channel.queue.declare("dueq.parked", passive=True)["message_count"])

    return as_stranger(url, count) == number


async def bodies(url: str) -> list[bytes]:
    return [each.body for each in await seen(url)]


async def test_looking_loses_nothing_and_leaves_them_in_their_order(
    amqp_url: str, mailbox: RabbitMailbox
) -> None:
    """Also after another client, or a process that died, has left them in any order."""
    numbers = [b"%d" % number for number in range(50)]
    for body in numbers:
        await park(mailbox, amqp_url, body)
    for _ in range(3):
        assert await bodies(amqp_url) == numbers
        assert await eventually(lambda: in_the_queue(amqp_url)) == numbers
        await eventually(lambda: waits(amqp_url, 50))


async def test_what_is_taken_out_of_the_middle_leaves_the_others_in_their_order(
    amqp_url: str, mailbox: RabbitMailbox
) -> None:
    for number in range(5):
        await park(mailbox, amqp_url, b"%d" % number)
    async with open_parked(amqp_url) as queue:
        for each in await queue.messages():
            if each.body in (b"1", b"3"):
                await queue.take_out(each)
    assert await bodies(amqp_url) == [b"0", b"2", b"4"]


async def test_it_says_why_when_and_whence(amqp_url: str, mailbox: RabbitMailbox) -> None:
    await park(mailbox, amqp_url, b"{}", message_id="m", headers={"own": 1})
    (parked,) = await seen(amqp_url)
    assert parked.notes["code"] == "invalid"
    assert parked.notes["pointer"] == "/queue"
    assert parked.notes["error"] == "/queue: is none"
    assert parked.notes["parked-at"].endswith("Z")
    assert (parked.exchange, parked.routing_key) == ("dueq.jobs", "job.submit")
    assert (parked.text("message_id"), list(parked.headers)) == ("m", ["own"])


async def test_of_a_delayed_message_it_keeps_the_door_and_the_key(
    amqp_url: str, mailbox: RabbitMailbox
) -> None:
    await park(mailbox, amqp_url, b"x", exchange="dueq.delay")
    (parked,) = await seen(amqp_url)
    assert (parked.exchange, parked.routing_key) == ("dueq.delay", "job.submit")


async def test_two_that_say_the_same_have_two_names(amqp_url: str, mailbox: RabbitMailbox) -> None:
    for _ in range(2):
        await park(mailbox, amqp_url, b"same")
    assert len({each.id for each in await seen(amqp_url)}) == 2


async def test_what_bears_no_name_is_named_by_what_it_says(
    amqp_url: str, mailbox: RabbitMailbox
) -> None:
    for body in (b"same", b"same", b"other"):
        send(amqp_url, body, exchange="dueq.parked")
    names = [each.id for each in await seen(amqp_url)]
    assert len(set(names)) == 3
    assert names[1] == f"{names[0]}-2"
    assert [each.id for each in await seen(amqp_url)] == names


async def test_sent_again_it_is_as_it_came_and_no_longer_parked(
    amqp_url: str, mailbox: RabbitMailbox
) -> None:
    await park(mailbox, amqp_url, b"bad", headers={"own": [1, None]}, app_id="shop")
    async with open_parked(amqp_url) as queue:
        (parked,) = await queue.messages()
        await queue.send_again(parked, b"good", "parked/1")
    assert await bodies(amqp_url) == []
    (delivery,) = await mailbox.take(1)
    assert (delivery.body, delivery.message_id) == (b"good", "parked/1")
    assert (delivery.exchange, delivery.routing_key) == ("dueq.jobs", "job.submit")
    assert b"dueq-" not in delivery.properties
    assert b"own" in delivery.properties


async def test_a_name_that_it_has_is_kept(amqp_url: str, mailbox: RabbitMailbox) -> None:
    await park(mailbox, amqp_url, b"bad", Remains("application/json", "m/3"), message_id="m")
    async with open_parked(amqp_url) as queue:
        (parked,) = await queue.messages()
        await queue.send_again(parked, parked.body, "another")
    (delivery,) = await mailbox.take(1)
    assert (delivery.message_id, delivery.content_type) == ("m/3", "application/json")


async def test_what_cannot_be_sent_stays(amqp_url: str, mailbox: RabbitMailbox) -> None:
    await park(mailbox, amqp_url, b"bad")
    await mailbox.give_back()
    as_stranger(amqp_url, lambda channel: channel.queue.delete("dueq.submit"))
    with pytest.raises(Unavailable, match="missing"):
        async with open_parked(amqp_url) as queue:
            (parked,) = await queue.messages()
            await queue.send_again(parked, parked.body, None)
    assert await bodies(amqp_url) == [b"bad"]
    await declare_topology(amqp_url, CLOCK)


async def test_without_the_queue_and_without_a_broker_it_says_so(servers: Servers) -> None:
    for url in (servers.fresh_amqp_url(), "amqp://guest:guest@127.0.0.1:1/"):
        with pytest.raises(Unavailable):
            await seen(url)


async def test_a_resubmitted_element_is_the_element_that_it_was(
    amqp_url: str, mailbox: RabbitMailbox
) -> None:
    """Parked under the name of the whole array, all its bad elements would be one job."""
    send(amqp_url, json.dumps([{}, {"queue": "-"}]).encode(), message_id="m")
    (delivery,) = await mailbox.take(1)
    reads = read_delivery(delivery, CLOCK.now(), CHANCE)
    (bad,) = [each for each in reads if isinstance(each, Bad)]
    await mailbox.park(delivery, bad.body, bad.error, bad.remains)
    await mailbox.ack([delivery])
    async with open_parked(amqp_url) as queue:
        (parked,) = await queue.messages()
        await queue.send_again(parked, b"{}", None)
    (again,) = await mailbox.take(1)
    (read,) = read_delivery(again, CLOCK.now(), CHANCE)
    assert isinstance(read, Good)
    assert read.submission.id == id_of_element("m", 1)
