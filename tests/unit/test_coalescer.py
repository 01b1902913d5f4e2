"""Requests in flight share a publish, and nothing but the publish."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from gateway.coalescer import Coalescer
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.job import Submission
from tests.builders import a_submission
from tests.fakes.intake import FakeIntake


class BrokenIntake:
    """Fails once as no intake should, then works."""

    def __init__(self) -> None:
        self.calls = 0

    async def publish(self, submissions: Sequence[Submission]) -> None:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("a mistake of ours")


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


@pytest_asyncio.fixture
async def coalescer(intake: FakeIntake) -> AsyncIterator[Coalescer]:
    coalescer = Coalescer(intake, max_jobs=5, in_flight=2)
    async with coalescer.running():
        yield coalescer


async def some_time() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lone_request_goes_out_at_once(intake: FakeIntake, coalescer: Coalescer) -> None:
    await coalescer.publish([a_submission()])
    assert len(intake.publishes) == 1


async def test_requests_that_come_together_share_a_publish(
    intake: FakeIntake, coalescer: Coalescer
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(coalescer.publish([a_submission()]))
    assert [len(publish) for publish in intake.publishes] == [5]


async def test_while_two_publishes_are_on_their_way_the_others_gather(
    intake: FakeIntake, coalescer: Coalescer
) -> None:
    intake.hold()
    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(coalescer.publish([a_submission()]))
            await some_time()
        assert [len(publish) for publish in intake.publishes] == [1, 1]
        intake.release()
    assert [len(publish) for publish in intake.publishes] == [1, 1, 4]


async def test_a_publish_holds_no_more_jobs_than_fit(
    intake: FakeIntake, coalescer: Coalescer
) -> None:
    async with asyncio.TaskGroup() as group:
        for size in (3, 3, 2, 12, 1):
            group.create_task(coalescer.publish([a_submission() for _ in range(size)]))
    assert [len(publish) for publish in intake.publishes] == [3, 5, 12, 1]


async def test_nobody_is_answered_before_the_confirm(
    intake: FakeIntake, coalescer: Coalescer
) -> None:
    intake.hold()
    async with asyncio.TaskGroup() as group:
        requests = [group.create_task(coalescer.publish([a_submission()])) for _ in range(3)]
        await some_time()
        assert intake.publishes
        assert not any(request.done() for request in requests)
        intake.release()


async def test_all_that_shared_a_publish_hear_how_it_ended(
    intake: FakeIntake, coalescer: Coalescer
) -> None:
    intake.silent = True
    ends = await asyncio.gather(
        *(coalescer.publish([a_submission()]) for _ in range(3)), return_exceptions=True
    )
    assert [type(end) for end in ends] == [UnknownOutcome] * 3
    intake.silent = False
    await coalescer.publish([a_submission()])


async def test_a_client_that_goes_away_takes_nothing_from_the_others(
    intake: FakeIntake, coalescer: Coalescer
) -> None:
    """Its job is on the wire already: cancelling the publish would leave both in doubt."""
    intake.hold()
    leaving = asyncio.ensure_future(coalescer.publish([a_submission(name="leaving")]))
    staying = asyncio.ensure_future(coalescer.publish([a_submission(name="staying")]))
    await some_time()
    leaving.cancel()
    await some_time()
    intake.release()
    await staying
    assert [each.spec.name for each in intake.submissions] == ["leaving", "staying"]


async def test_a_mistake_of_ours_is_no_end_of_publishing() -> None:
    coalescer = Coalescer(BrokenIntake(), in_flight=1)
    async with coalescer.running():
        with pytest.raises(Unavailable):
            await coalescer.publish([a_submission()])
        await coalescer.publish([a_submission()])
