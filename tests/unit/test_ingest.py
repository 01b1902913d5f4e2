"""Messages become stored jobs, exactly one for each id, whoever dies on the way."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from pipeline.domain.envelope import ACCEPTED_KEY, encode_accepted, read_accepted
from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.execution import Outcome, Succeeded
from pipeline.domain.identity import id_of_key
from pipeline.domain.job import Kind, Submission
from pipeline.domain.states import State
from pipeline.ingest import Ingest
from pipeline.ports import Delivery, JobStore, LeaseQueue, Mailbox
from pipeline.watchers.sweeper import Sweeper
from tests.builders import a_submission
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.mailbox import FakeMailbox
from tests.fakes.world import World

pytestmark = pytest.mark.unit


class Door(World):
    """The world with a submit queue before it."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = FakeMailbox()

    def ingest(
        self,
        *,
        mailbox: Mailbox | None = None,
        store: JobStore | None = None,
        queue: LeaseQueue | None = None,
    ) -> Ingest:
        """One ingest process; a part of its own stands in for the true one."""
        return Ingest(
            mailbox or self.mailbox,
            store or self.store,
            queue or self.queue,
            self.clock,
            self.chance,
        )

    def own(self, *submissions: Submission, times: int = 1) -> None:
        """What the gateway publishes."""
        for body in encode_accepted(submissions):
            self.mailbox.deliver(body, ACCEPTED_KEY, times=times)

    def foreign(self, body: Any, **fields: Any) -> Delivery:
        """What anybody publishes."""
        return self.mailbox.deliver(json.dumps(body).encode(), **fields)

    def replies(self) -> Iterator[Any]:
        """What senders were told."""
        return (json.loads(body) for _, body in self.mailbox.replies)

    @property
    def reasons(self) -> list[str]:
        """Why messages were parked."""
        return [parked.error.code for parked in self.mailbox.parked]


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


# -- R3: one bad message never hurts its neighbours


async def test_a_bad_message_is_parked_and_its_neighbours_are_stored(door: Door) -> None:
    good = a_submission(at=door.now)
    door.mailbox.deliver(b"{not json")
    door.own(good)
    door.foreign({"queue": "a b"})
    await door.ingest().step()
    assert list(door.store.jobs) == [good.id]
    assert door.reasons == ["malformed", "invalid"]
    assert len(door.mailbox.acked) == 3


async def test_of_an_array_only_the_bad_elements_are_parked(door: Door) -> None:
    door.foreign([{"payload": 1}, {"queue": "a b"}, {"payload": 2**63}, {"payload": 2}])
    await door.ingest().step()
    assert [job.body for job in door.store.jobs.values()] == [{"payload": 1}, {"payload": 2}]
    assert [json.loads(parked.body) for parked in door.mailbox.parked] == [
        {"queue": "a b"}, {"payload": 2**63},
    ]  # fmt: skip


async def test_a_time_that_no_clock_can_show_does_not_stop_ingest(door: Door) -> None:
    """An exception that is no refusal would end the process, and the next one, and the next one."""
    door.foreign({"run_at": "0001-01-01T00:00:00+12:00"})
    door.foreign({"run_at": "9999-12-31T23:59:59-12:00"})
    await door.ingest().step()
    assert door.reasons == ["invalid", "invalid"]


async def test_nothing_is_acknowledged_before_it_is_parked(door: Door) -> None:
    door.mailbox.deliver(b"{not json")

    async def away() -> None:
        raise Unavailable("RabbitMQ", "gone")

    with pytest.raises(Unavailable):
        await door.ingest(mailbox=interposed(door.mailbox, "park", before=away)).step()
    assert not door.mailbox.acked


async def test_the_sender_is_told_what_became_of_each(door: Door) -> None:
    body = [{"payload": 1}, {"queue": "a b", "delay": -1}, {"payload": 2}, 5]
    door.foreign(body, message_id="m", reply_to="answers", correlation_id="c")
    door.foreign({"payload": 3})
    await door.ingest().step()
    ((delivery, _),) = door.mailbox.replies
    assert delivery.correlation_id == "c"
    (reply,) = door.replies()
    assert reply["accepted"] == 2
    assert reply["ids"] == [id_of_key("m/0"), id_of_key("m/2")]
    assert [(r["index"], r["code"]) for r in reply["rejected"]] == [(1, "invalid"), (3, "invalid")]
    assert [e["pointer"] for e in reply["rejected"][0]["errors"]] == ["/queue", "/delay"]


async def test_a_delayed_message_is_stored_as_its_job_and_nobody_is_answered(door: Door) -> None:
    """`reply_to` is for who receives the message in the end."""
    told: dict[str, Any] = {
        "exchange": "dueq.delay",
        "routing_key": "job.accepted",
        "reply_to": "answers",
    }
    door.mailbox.deliver(b"hello", headers={"x-delay": 60_000}, **told)
    door.mailbox.deliver(b"hello", headers={"x-delay": "soon"}, **told)
    await door.ingest().step()
    (job,) = door.store.jobs.values()
    assert (job.state, job.spec.kind, job.due_at) == (
        State.PENDING, Kind.AMQP, door.now + timedelta(seconds=60),
    )  # fmt: skip
    assert [parked.error.flaws[0].pointer for parked in door.mailbox.parked] == ["/headers/x-delay"]
    assert door.mailbox.replies == []
    assert len(door.mailbox.acked) == 2


async def test_a_message_that_is_parked_whole_is_answered_too(door: Door) -> None:
    door.mailbox.deliver(b"{", reply_to="answers", correlation_id="c")
    await door.ingest().step()
    (reply,) = door.replies()
    assert (reply["accepted"], reply["ids"], reply["rejected"][0]["code"]) == (0, [], "malformed")


async def test_what_remains_of_an_array_bears_the_name_of_its_place(door: Door) -> None:
    """Under the name of the whole array all its bad elements would be one job."""
    door.foreign([{}, {"queue": "-"}, {"idempotency_key": "k", "queue": "-"}], message_id="m")
    await door.ingest().step()
    remains = [parked.remains for parked in door.mailbox.parked]
    assert [each and each.message_id for each in remains] == ["m/1", None]


async def test_a_conflict_is_told_at_its_place(door: Door) -> None:
    door.foreign({"idempotency_key": "k", "payload": 0})
    await door.ingest().step()
    door.foreign(
        [{"payload": 1}, {"idempotency_key": "k", "payload": 1}, {"queue": "-"}], reply_to="r"
    )
    await door.ingest().step()
    (reply,) = door.replies()
    assert [(r["index"], r["code"]) for r in reply["rejected"]] == [(1, "conflict"), (2, "invalid")]


async def test_h19_a_message_delivered_a_hundred_times_is_read_alone_and_kept(door: Door) -> None:
    """H19: Every crash and requeue counts as a delivery. A good job in bad company has many of
    them, and a limit would throw it away; so it is taken out of the company first, and only a
    decision of ours parks it."""
    batches: list[int] = []

    class Counting(FakeMailbox):
        async def ack(self, deliveries: Sequence[Delivery]) -> None:
            batches.append(len(deliveries))
            await super().ack(deliveries)

    door.mailbox = Counting()
    for times in (100, 5, 5):
        door.own(a_submission(at=door.now), times=times)
    door.mailbox.deliver(b"{not json", times=6)
    await door.ingest().step()
    assert batches == [2, 1, 1]
    assert len(door.store.jobs) == 3
    assert [parked.delivery.times for parked in door.mailbox.parked] == [6]


async def test_what_a_suspect_does_to_us_happens_after_the_others_are_safe(door: Door) -> None:
    good = a_submission(at=door.now)
    door.own(a_submission(), times=6)
    door.own(good)
    with pytest.raises(Died):
        await door.ingest(store=interposed(door.store, "insert", before=die, call=2)).step()
    assert good.id in door.store.jobs
    assert len(door.mailbox.acked) == 1


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
