"""A consumer whose connection the driver gives up while somebody waits for an answer.

After missed heartbeats the driver ends the calls that wait with `CancelledError`, though nobody
cancelled anything: taken for a cancel, it would end ingest without a word.
"""

import asyncio
from typing import Any

import pytest

from pipeline.broker import consumer as module
from pipeline.broker.connection import disconnect
from pipeline.broker.consumer import Consumer

pytestmark = pytest.mark.unit


class Driver:
    """Its connection and its channel in one: every call ends so, or none ends at all."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        return self._call

    async def _call(self, *_: Any, **__: Any) -> None:
        if self._answers:
            raise asyncio.CancelledError
        await asyncio.Event().wait()


def a_consumer(driver: Any) -> Consumer:
    return Consumer(driver, driver)


@pytest.fixture(autouse=True)
def _probes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.0)


async def test_who_waits_for_messages_is_told_that_it_is_lost() -> None:
    consumer = a_consumer(Driver(answers=True))
    assert await consumer.take(1) == ()
    assert consumer.lost


async def test_giving_back_ends() -> None:
    driver: Any = Driver(answers=True)
    await a_consumer(driver).close()
    await disconnect(driver)


async def test_a_cancel_that_somebody_asked_for_is_one() -> None:
    consumer = a_consumer(Driver(answers=False))
    taking = asyncio.ensure_future(consumer.take(1))
    for _ in range(5):
        await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
