"""R3: one bad message never hurts its neighbours, and its sender is told."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from pipeline.domain.errors import Unavailable
from pipeline.domain.identity import id_of_key
from pipeline.domain.job import Kind
from pipeline.domain.states import State
from pipeline.ports import Delivery
from tests.builders import a_submission
from tests.fakes.interposed import Died, die, interposed
from tests.fakes.mailbox import FakeMailbox
from tests.ingest_world import Door

pytestmark = pytest.mark.unit


@pytest.fixture
def door() -> Door:
    return Door()


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
