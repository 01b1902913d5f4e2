"""AMQP jobs for a broker on which they have a user of its own, with rights and a password."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from infra.local.rabbitmq import RabbitMq
from infra.local.servers import Urls
from pipeline.broker.targets import RabbitTargets
from pipeline.clock import StoreClock
from pipeline.domain.execution import Failed, Succeeded
from tests.amqp_world import Partner, known, publish
from tests.endings import failure
from tests.servers import private_local_servers
from tests.support import eventually


@pytest_asyncio.fixture
async def targets(amqp_url: str) -> AsyncIterator[RabbitTargets]:
    async with RabbitTargets(amqp_url, StoreClock()) as targets:
        yield targets


ADD_USER = """
rabbit_auth_backend_internal:add_user(<<"partner">>, <<"{password}">>, <<"dueq">>),
rabbit_auth_backend_internal:set_permissions(
    <<"partner">>, <<"/">>, <<"">>, <<"(amq.default|orders)">>, <<"">>, <<"dueq">>).
"""
CHANGE_PASSWORD = """
rabbit_auth_backend_internal:change_password(<<"partner">>, <<"{password}">>, <<"dueq">>),
rabbit_networking:close_all_user_connections(<<"partner">>, <<"new password">>).
"""


@pytest_asyncio.fixture(scope="module")
async def broker() -> AsyncIterator[RabbitMq]:
    async with private_local_servers(Urls(mongo="unused:", redis="unused:")) as local:
        assert local.rabbitmq is not None
        local.rabbitmq.evaluate(ADD_USER.format(password="first"))
        yield local.rabbitmq


async def test_rights_that_a_user_does_not_have_hurt_only_jobs_that_need_them(
    targets: RabbitTargets, broker: RabbitMq, tmp_path: Path
) -> None:
    """The broker closes the channel for each, while others are sending on theirs."""
    partner = Partner(broker.url, tmp_path)
    broker.evaluate(CHANGE_PASSWORD.format(password="second"))
    partner.become(user_url(broker, "second"))
    executors = known(targets, partner)
    await partner.orders()
    bad = [
        publish(executors, exchange="amq.topic", url=partner.secret, verbatim=bool(number % 2))
        for number in range(60)
    ]
    good = [publish(executors, routing_key="orders", url=partner.secret) for _ in range(60)]
    endings = await asyncio.gather(*good[:30], *bad, *good[30:])
    assert endings[:30] + endings[90:] == [Succeeded()] * 60
    assert {failure(ending).error.type for ending in endings[30:90]} == {"access_refused"}
    assert len(await partner.orders()) == 60


async def test_a_password_that_was_changed_is_refused_until_the_secret_is_changed_too(
    targets: RabbitTargets, broker: RabbitMq, tmp_path: Path
) -> None:
    partner = Partner(broker.url, tmp_path)
    executors = known(targets, partner)
    asked = {"routing_key": "orders", "url": partner.secret}
    await partner.orders()
    broker.evaluate(CHANGE_PASSWORD.format(password="second"))
    partner.become(user_url(broker, "second"))
    assert await publish(executors, **asked) == Succeeded()
    await asyncio.to_thread(broker.evaluate, CHANGE_PASSWORD.format(password="third"))

    async def is_refused() -> bool:
        ending = await publish(executors, **asked)
        return isinstance(ending, Failed) and ending.error.type == "access_refused"

    await eventually(is_refused)
    partner.become(user_url(broker, "third"))
    assert await publish(executors, **asked) == Succeeded()


def user_url(broker: RabbitMq, password: str) -> str:
    return broker.url.replace("guest:guest", f"partner:{password}")
