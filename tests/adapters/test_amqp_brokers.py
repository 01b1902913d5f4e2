"""AMQP jobs for the broker that a secret names, against real ones."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aio_pika.abc import AbstractQueue

from pipeline.broker.target import RabbitTarget
from pipeline.broker.targets import IDLE_SECONDS, MOST_IDLE, RabbitTargets
from pipeline.clock import StoreClock
from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Succeeded
from tests.amqp_world import Partner, inbox_on, known, publish
from tests.cable import Cable
from tests.endings import failure
from tests.fakes.clock import ManualClock
from tests.servers import Servers
from tests.support import eventually


@pytest_asyncio.fixture
async def inbox(amqp_url: str) -> AsyncIterator[AbstractQueue]:
    async with inbox_on(amqp_url) as inbox:
        yield inbox


@pytest_asyncio.fixture
async def partner(servers: Servers, amqp_url: str, tmp_path: Path) -> Partner:
    partner = Partner(servers.fresh_amqp_url(), tmp_path)
    partner.become(partner.url)
    await partner.orders()
    return partner


@pytest_asyncio.fixture
async def targets(amqp_url: str) -> AsyncIterator[RabbitTargets]:
    async with RabbitTargets(amqp_url, StoreClock()) as targets:
        yield targets


async def test_a_message_goes_to_the_broker_that_a_secret_names(
    targets: RabbitTargets, partner: Partner, inbox: AbstractQueue
) -> None:
    executors = known(targets, partner)
    ours, theirs = {"routing_key": "inbox"}, {"routing_key": "orders", "url": partner.secret}
    assert await publish(executors, body="ours", **ours) == Succeeded()
    assert await publish(executors, body="theirs", **theirs) == Succeeded()
    assert await publish(executors, body="exact", verbatim=True, **theirs) == Succeeded()
    assert await partner.orders() == [b"theirs", b"exact"]
    assert (await inbox.get()).body == b"ours"
    assert await inbox.get(fail=False) is None


async def test_a_secret_that_was_replaced_counts_from_the_next_attempt_on(
    targets: RabbitTargets, partner: Partner, servers: Servers
) -> None:
    executors = known(targets, partner)
    asked = {"routing_key": "orders", "url": partner.secret}
    assert await publish(executors, body="first", **asked) == Succeeded()
    moved = Partner(servers.fresh_amqp_url(), partner.folder)
    await moved.orders()
    partner.become(moved.url)
    assert await publish(executors, body="second", **asked) == Succeeded()
    assert (await partner.orders(), await moved.orders()) == ([b"first"], [b"second"])


def hostile(url: str) -> dict[str, tuple[str, str]]:
    """Secrets that lead nowhere: what each is, and what the attempt ends with."""
    parts = urlsplit(url)
    nobody = parts._replace(netloc=f"mallory:hunter2@{parts.hostname}:{parts.port}")
    return {
        "unknown user": (nobody.geturl(), "access_refused"),
        "no such vhost": (parts._replace(path="/hidden-vhost").geturl(), "access_refused"),
        "nobody listens": ("amqp://mallory:hunter2@127.0.0.1:1/hidden-vhost", "unavailable"),
        "no such host": ("amqp://mallory:hunter2@hidden-host.invalid/", "unavailable"),
        "no TLS": (parts._replace(scheme="amqps").geturl(), "unavailable"),
        "no such file": (f"amqps://127.0.0.1:{parts.port}/?cafile=/hidden-file", "unavailable"),
        "unreadable": ("amqps://mallory:hunter2@127.0.0.1:1/?cadata=hidden-data", "unavailable"),
        "a label too long": (f"amqp://mallory:hunter2@{'x' * 70}.invalid/", "unavailable"),
    }


@pytest.mark.parametrize("name", hostile("amqp://guest:guest@127.0.0.1:1/"))
async def test_a_secret_that_leads_nowhere_fails_its_own_jobs_and_is_not_told(
    targets: RabbitTargets, partner: Partner, inbox: AbstractQueue, name: str
) -> None:
    url, expected = hostile(partner.url)[name]
    partner.become(url)
    executors = known(targets, partner)
    bad = [publish(executors, routing_key="orders", url=partner.secret) for _ in range(20)]
    good = [publish(executors, routing_key="inbox") for _ in range(20)]
    endings = await asyncio.wait_for(asyncio.gather(*bad, *good), 20)
    assert endings[20:] == [Succeeded()] * 20
    for ending in map(failure, endings[:20]):
        assert (ending.error.type, ending.retryable) == (expected, True)
        assert ending.error.message.endswith("(broker of secret PARTNER)")
        for secret in ("hunter2", "mallory", "hidden", "127.0.0.1", "xxxxx", "guest"):
            assert secret not in str(ending)


async def test_a_broker_that_does_not_answer_hurts_only_its_own_jobs_each_once(
    targets: RabbitTargets, partner: Partner, inbox: AbstractQueue
) -> None:
    """A hundred jobs wait for one attempt to connect, not for a hundred in turn."""
    async with Cable(partner.url).laid() as cable:
        cable.stall()
        partner.become(cable.url)
        executors = known(targets, partner)
        async with asyncio.timeout(9):  # connecting is given five seconds
            async with asyncio.TaskGroup() as group:
                bad = [
                    group.create_task(publish(executors, routing_key="orders", url=partner.secret))
                    for _ in range(100)
                ]
                assert await publish(executors, routing_key="inbox") == Succeeded()
                assert not any(each.done() for each in bad)
        assert {failure(each.result()).error.type for each in bad} == {"unavailable"}


@pytest.mark.parametrize("verbatim", [False, True])
async def test_a_broker_that_was_lost_is_found_again(partner: Partner, verbatim: bool) -> None:
    """The default one as well as that of a secret."""
    async with (
        Cable(partner.url).laid() as cable,
        RabbitTargets(cable.url, StoreClock()) as targets,
    ):
        partner.become(cable.url)
        executors = known(targets, partner)
        for broker in (None, partner.secret):
            asked = {"routing_key": "orders", "url": broker, "verbatim": verbatim}
            assert await publish(executors, body="before", **asked) == Succeeded()
            cable.cut()

            async def again(asked: dict[str, Any] = asked) -> bool:
                return await publish(executors, body="after", **asked) == Succeeded()

            await eventually(again)
            assert await partner.orders() == [b"before", b"after"]


async def test_connections_that_nobody_uses_are_closed_and_opened_again(
    amqp_url: str, partner: Partner
) -> None:
    clock = ManualClock()
    async with Cable(partner.url).laid() as cable, asyncio.TaskGroup() as group:
        partner.become(cable.url)
        async with RabbitTargets(amqp_url, clock) as targets:
            executors = known(targets, partner)
            asked = {"routing_key": "orders", "url": partner.secret}
            sweeping = group.create_task(targets.run())
            assert await publish(executors, **asked) == Succeeded()
            assert cable.connections == 1
            await clock.run(2 * IDLE_SECONDS)
            await eventually(lambda: cable.connections == 0)
            assert await publish(executors, **asked) == Succeeded()
            assert cable.connections == 1
            sweeping.cancel()
        await eventually(lambda: cable.connections == 0)


async def test_of_many_brokers_a_few_connections_stay_open(
    targets: RabbitTargets, partner: Partner
) -> None:
    async with Cable(partner.url).laid() as cable:
        executors = known(targets, partner)
        for number in range(MOST_IDLE + 5):
            partner.become(f"{cable.url}?name=number-{number}", f"N{number}")
            asked = {"routing_key": "orders", "url": {"secret": f"N{number}"}}
            assert await publish(executors, **asked) == Succeeded()
        await eventually(lambda: cable.connections == MOST_IDLE)
    assert len(await partner.orders()) == MOST_IDLE + 5


async def test_a_broker_that_is_closed_is_not_connected_to_by_what_still_opens(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spoilt line is being closed, and opened anew, for somebody who was cancelled since."""
    monkeypatch.setattr("pipeline.broker.target._LINES", 1)
    async with Cable(amqp_url).laid() as cable:
        target = RabbitTarget(cable.url)
        with pytest.raises(Rejected):
            await _publish_to_nobody(target)
        cable.stall()
        for _ in range(2):
            await _given_up(_publish_to_nobody(target))
        opening = [each for each in asyncio.all_tasks() if "_open_anew" in str(each.get_coro())]
        await target.close()
        cable.flow()
        await asyncio.wait(opening)
        await eventually(lambda: cable.connections == 0)


async def _publish_to_nobody(target: RabbitTarget) -> None:
    await target.publish_alone(exchange="", routing_key="no", body=b"", properties=b"\0\0")


async def _given_up(publishing: Coroutine[Any, Any, None]) -> None:
    """It has begun, and is cancelled then."""
    task = asyncio.ensure_future(publishing)
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
