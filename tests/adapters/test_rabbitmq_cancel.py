"""A cancel ends what connects to RabbitMQ, in whichever moment it comes."""

import asyncio
from contextlib import suppress

from pipeline.broker.mailbox import RabbitMailbox
from pipeline.broker.publisher import RabbitIntake
from pipeline.clock import StoreClock, SystemChance

MOMENTS = [step / 1000 for step in range(60)]
"""Seconds after the start; a connection takes some 15 ms, on a busy machine more."""


async def test_an_intake_that_is_left_while_it_connects_ends(amqp_url: str) -> None:
    # The driver keeps some of the cancels that come while it connects for itself. The keeper of
    # the connection then went on, and a gateway that was stopped just after its start never ended.
    for moment in MOMENTS:
        async with asyncio.timeout(10):
            async with RabbitIntake(amqp_url, 5.0, StoreClock(), SystemChance()):
                await asyncio.sleep(moment)


async def test_a_mailbox_that_is_cancelled_while_it_connects_ends(amqp_url: str) -> None:
    for moment in MOMENTS:
        mailbox = RabbitMailbox(amqp_url, StoreClock(), SystemChance())
        taking = asyncio.ensure_future(mailbox.take(1))
        await asyncio.sleep(moment)
        taking.cancel()
        async with asyncio.timeout(10):
            with suppress(asyncio.CancelledError):
                await taking
        await mailbox.close()
