"""Messages become stored jobs, exactly one for each id, whoever dies on the way."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from pipeline.domain.envelope import read_accepted
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.execution import Outcome, Succeeded
from pipeline.domain.identity import id_of_key
from pipeline.domain.states import State
from pipeline.watchers.sweeper import Sweeper
from tests.builders import a_submission
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.mailbox import FakeMailbox
from tests.ingest_world import Door

pytestmark = pytest.mark.unit


@pytest.fixture
def door() -> Door:
    return Door()


# -- the good way


async def test_what_is_due_is_stored_queued_and_in_redis_at_once(door: Door) -> None:
    sent = a_submission(at=door.now, queue="q", priority=8)
    door.own(sent)
    await door.ingest().step()
    assert await door.state(sent.id) is State.QUEUED
    assert door.is_waiting(sent.id, "q")
    assert len(door.mailbox.acked) == 1


async def test_what_is_due_later_is_pending_and_not_in_redis(door: Door) -> None:
    sent = a_submission(at=door.now, delay=60)
    door.own(sent)
    await door.ingest().step()
    assert await door.state(sent.id) is State.PENDING
    assert not door.is_waiting(sent.id)


@pytest.mark.parametrize(("delay", "woken"), [(0, False), (1, True), (10, True), (11, False)])
async def test_the_dispatcher_is_woken_for_what_is_due_before_its_next_look(
    door: Door, delay: float, woken: bool
) -> None:
    door.own(a_submission(at=door.now, delay=delay))
    await door.ingest().step()
    waiter = asyncio.ensure_future(door.queue.await_dispatch())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiter.done() is woken
    waiter.cancel()


async def test_all_that_has_arrived_is_one_insert_one_add_and_one_ack(door: Door) -> None:
    calls: list[str] = []

    def counting(name: str) -> Any:
        async def count() -> None:
            calls.append(name)

        return count

    door.own(*(a_submission(at=door.now) for _ in range(20)))
    door.own(*(a_submission(at=door.now) for _ in range(20)))
    ingest = door.ingest(
        mailbox=interposed(door.mailbox, "ack", before=counting("ack")),
        store=interposed(door.store, "insert", before=counting("insert")),
        queue=interposed(door.queue, "add", before=counting("add")),
    )
    await ingest.step()
    assert calls == ["insert", "add", "ack"]
    assert len(door.store.jobs) == 40


async def test_more_than_one_insert_can_hold_goes_in_several(door: Door) -> None:
    door.foreign([{"payload": n} for n in range(2500)], message_id="m", reply_to="r")
    await door.ingest().step()
    assert len(door.store.jobs) == 2500
    (reply,) = door.replies()
    assert reply["accepted"] == 2500
    assert [door.store.jobs[job_id].body["payload"] for job_id in reply["ids"]] == [*range(2500)]


# -- R1: nothing is acknowledged before it is stored


async def test_nothing_is_acknowledged_before_it_is_stored(door: Door) -> None:
    sent = a_submission(at=door.now)
    door.own(sent)

    async def look() -> None:
        assert sent.id in door.store.jobs

    await door.ingest(mailbox=interposed(door.mailbox, "ack", before=look)).step()
    assert door.mailbox.acked


@pytest.mark.parametrize("applied", [True, False])
async def test_an_unknown_outcome_is_not_acknowledged_and_comes_to_one_job(
    door: Door, applied: bool
) -> None:
    """The insert's reply is lost. Given back, the message comes again and meets its own job."""
    sent = a_submission(at=door.now)
    door.own(sent)
    door.store.fail("insert", applied=applied)
    ingest = door.ingest()
    with pytest.raises(UnknownOutcome):
        await ingest.step()
    assert not door.mailbox.acked
    door.mailbox.lose_connection()
    await ingest.step()
    assert list(door.store.jobs) == [sent.id]
    assert len(door.mailbox.acked) == 1


async def test_a_crash_between_store_and_redis_leaves_a_queued_job_to_the_reconciler(
    door: Door,
) -> None:
    sent = a_submission(at=door.now)
    door.own(sent)
    with pytest.raises(Died):
        await door.ingest(queue=interposed(door.queue, "add", before=die)).step()
    door.mailbox.lose_connection()
    await door.ingest().step()
    assert await door.state(sent.id) is State.QUEUED
    assert door.mailbox.waiting == 0


async def test_redis_away_delays_and_loses_nothing(door: Door) -> None:
    sent = a_submission(at=door.now)
    door.own(sent)
    door.queue.go_down()
    await door.ingest().step()
    assert await door.state(sent.id) is State.QUEUED
    assert len(door.mailbox.acked) == 1


async def test_h3_a_redelivered_message_does_not_bring_a_deleted_job_back(door: Door) -> None:
    """H3: Ingest inserts and dies before the ack; the job runs, the user deletes it, the sweeper
    looks; RabbitMQ delivers the message again."""
    sent = a_submission(at=door.now)
    door.own(sent)
    with pytest.raises(Died):
        await door.ingest(mailbox=interposed(door.mailbox, "ack", before=die)).step()
    (job,) = await door.run("lease-1")
    await door.ended(job, Succeeded())
    assert await door.store.bury(sent.id)
    await Sweeper(door.store, door.clock, {}).step()
    door.mailbox.lose_connection()
    await door.ingest().step()
    assert await door.store.get(sent.id) is None
    assert not door.is_waiting(sent.id)
    assert len(door.mailbox.acked) == 1


async def test_h4_a_key_used_again_after_the_grave_meets_no_old_record(door: Door) -> None:
    """H4: `j/1` exists, the document is gone, the same key comes again: attempt 1 would start and
    its result would be thrown away for the record that stands. Within a day the tombstone keeps the
    id; after it the records have gone before the tombstone did."""
    door.foreign({"payload": 1}, message_id="k")
    await door.ingest().step()
    (job,) = await door.run("lease-1")
    await door.ended(job, Succeeded("old"))
    await door.store.bury(job.id)
    door.clock.advance(25 * 3600)
    await Sweeper(door.store, door.clock, {}).step()
    door.foreign({"payload": 2}, message_id="k")
    await door.ingest().step()
    (again,) = await door.run("lease-2")
    assert (again.id, again.attempt) == (id_of_key("k"), 1)
    standing = await door.ended(again, Succeeded("new"))
    assert (standing.outcome, standing.result) == (Outcome.SUCCEEDED, "new")


async def test_h26_of_two_first_requests_under_one_key_one_is_told(door: Door) -> None:
    """H26: Both were looked up, both were new, both were answered 202: the gateway cannot tell.
    Ingest stores one; the other is parked and reported, never silently dropped."""
    job_id = id_of_key("k")
    door.own(a_submission(id=job_id, at=door.now, keyed=True, payload="first"))
    door.own(a_submission(id=job_id, at=door.now, keyed=True, payload="second"))
    await door.ingest().step()
    assert (await door.job(job_id)).body == {"payload": "first"}
    (parked,) = door.mailbox.parked
    assert parked.error.code == "conflict"
    element = json.loads(parked.body)
    assert element["spec"]["payload"] == "second"
    assert len(door.mailbox.acked) == 2


async def test_what_of_the_gateways_own_is_parked_keeps_its_identity(door: Door) -> None:
    """Its key may have stood in a header: resubmitted without it, it would be another job."""
    job_id = id_of_key("header")
    sent = a_submission(id=job_id, at=door.now, keyed=True, payload="second")
    door.own(a_submission(id=job_id, at=door.now, keyed=True, payload="first"), sent)
    await door.ingest().step()
    (parked,) = door.mailbox.parked
    assert read_accepted(json.loads(parked.body)) == sent


async def test_the_same_body_twice_under_one_key_is_one_job_and_no_conflict(door: Door) -> None:
    for _ in range(2):
        door.foreign({"payload": 1}, message_id="k", reply_to="r")
    await door.ingest().step()
    assert not door.mailbox.parked
    assert [reply["ids"] for reply in door.replies()] == [[id_of_key("k")]] * 2


async def test_the_key_of_a_deleted_job_is_refused_as_over_http(door: Door) -> None:
    """Answered as accepted it would name a job that is not there, and that nobody will ever run."""
    door.foreign({"payload": 1}, message_id="k")
    await door.ingest().step()
    assert await door.store.bury(id_of_key("k"))
    door.foreign({"payload": 1}, message_id="k", reply_to="r")
    await door.ingest().step()
    (reply,) = door.replies()
    assert (reply["accepted"], reply["ids"]) == (0, [])
    assert [(each["index"], each["code"]) for each in reply["rejected"]] == [(0, "deleted")]
    assert door.reasons == ["deleted"]


async def test_a_copy_of_what_the_gateway_accepted_is_not_parked_when_the_job_was_deleted(
    door: Door,
) -> None:
    """Ingest dies before the ack, the job is deleted, the message comes again: it is not lost."""
    sent = a_submission(at=door.now, keyed=True)
    door.own(sent)
    with pytest.raises(Died):
        await door.ingest(mailbox=interposed(door.mailbox, "ack", before=die)).step()
    assert await door.store.bury(sent.id)
    door.mailbox.lose_connection()
    await door.ingest().step()
    assert not door.mailbox.parked
    assert door.mailbox.waiting == 0


async def test_a_job_that_runs_already_is_not_put_into_redis_again(door: Door) -> None:
    sent = a_submission(at=door.now)
    door.own(sent)
    await door.ingest().step()
    await door.run("lease-1")
    door.own(sent)
    await door.ingest().step()
    assert not door.is_waiting(sent.id)


# -- MongoDB away


async def test_without_mongodb_all_is_given_back_once_and_taken_again_later(door: Door) -> None:
    sent = [a_submission(at=door.now) for _ in range(3)]
    for submission in sent:
        door.own(submission)
    door.store.down = True
    running = asyncio.ensure_future(door.ingest().run())
    await door.clock.run(0.0)
    assert (door.mailbox.waiting, len(door.mailbox.held), door.mailbox.consuming) == (3, 0, False)
    door.store.down = False
    await door.clock.run(5.0)
    assert sorted(door.store.jobs) == sorted(submission.id for submission in sent)
    assert (door.mailbox.waiting, len(door.mailbox.held)) == (0, 0)
    running.cancel()


async def test_pauses_grow_to_five_seconds_and_not_beyond(door: Door) -> None:
    """In an hour without MongoDB a message is delivered some hundred times, not a million."""
    door.own(a_submission(at=door.now))
    door.store.down = True
    running = asyncio.ensure_future(door.ingest().run())
    await door.clock.run(600)
    (delivery,) = await door.mailbox.take(1)
    assert 120 < delivery.times < 260
    running.cancel()


async def test_rabbitmq_away_in_the_same_moment_does_not_end_ingest(door: Door) -> None:
    class Gone(FakeMailbox):
        async def give_back(self) -> None:
            raise Unavailable("RabbitMQ", "gone too")

    door.mailbox = Gone()
    door.own(a_submission(at=door.now))
    door.store.down = True
    running = asyncio.ensure_future(door.ingest().run())
    await door.clock.run(1)
    assert not running.done()
    running.cancel()


async def test_delay_of_a_foreign_message_counts_from_ingest(door: Door) -> None:
    door.clock.advance(100)
    door.foreign({"delay": 30})
    await door.ingest().step()
    (job,) = door.store.jobs.values()
    assert job.due_at == door.now + timedelta(seconds=30)
