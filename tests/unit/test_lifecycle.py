"""What is told of a job, put together from the changes of its document."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.broker.event_outlet import flights
from pipeline.domain.lifecycle import Change, EventError, History, JobEvent, Moment
from pipeline.domain.states import State

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 21, 19, 0, 0, 123_000, tzinfo=UTC)
STORED: dict[str, Any] = {
    "state": "queued",
    "queue": "mail",
    "name": "hello",
    "tags": ["eu"],
    "attempt": 0,
    "failures": 0,
    "due_at": AT,
}


def change(place: int, job_id: str = "a", **fields: Any) -> Change:
    return Change(job_id, Moment(1_700_000_000, place), AT, fields)


def stored(place: int = 1, job_id: str = "a", **more: Any) -> Change:
    return Change(job_id, Moment(1_700_000_000, place), AT, STORED | more, whole=True)


def event(place: int, job_id: str = "a", state: State = State.QUEUED, queue: str = "q") -> JobEvent:
    return JobEvent(job_id, state, {"queue": queue}, Moment(1, place), AT)


def test_a_change_is_told_with_what_earlier_changes_said() -> None:
    history = History()
    _, running, dead = history.follow(
        [stored(), change(2, state="running", attempt=1), change(3, state="dead", failures=1)]
    )

    assert running.body.model_dump(include={"name", "queue", "attempt", "failures"}) == {
        "name": "hello",
        "queue": "mail",
        "attempt": 1,
        "failures": 0,
    }
    assert (dead.body.attempt, dead.body.failures) == (1, 1)
    assert dead.routing_key == "job.dead.mail"


def test_an_event_of_an_earlier_change_does_not_know_of_a_later_one() -> None:
    history = History()
    first, *_ = history.follow([stored(), change(2, state="running", attempt=1)])

    assert first.body.attempt == 0


def test_the_id_is_the_same_when_it_is_told_again_and_another_for_each_change() -> None:
    changes = [stored(), change(2, state="running", attempt=1), change(3, state="pending")]

    first, again = ([each.id for each in History().follow(changes)] for _ in range(2))

    assert first == again
    assert len(set(first)) == 3


def test_headers_are_cloudevents_with_a_sequence_that_sorts_as_text() -> None:
    history = History()
    queued, running = history.follow([stored(9), change(10, state="running", attempt=1)])

    assert running.headers == {
        "ce-specversion": "1.0",
        "ce-id": "a/running/1700000000-0000000010",
        "ce-source": "/dueq",
        "ce-type": "dueq.job.running",
        "ce-subject": "a",
        "ce-time": "2026-11-21T19:00:00.123Z",
        "ce-sequence": "1700000000-0000000010",
        "ce-dueqattempt": "1",
    }
    assert queued.headers["ce-sequence"] < running.headers["ce-sequence"]


def test_the_body_has_no_payload_and_its_times_are_those_of_the_api() -> None:
    (told,) = History().follow([stored(spec={"payload": "secret"}, lease_id="l")])
    text = told.body.model_dump_json()

    assert "secret" not in text
    assert '"due_at":"2026-11-21T19:00:00.123Z"' in text


def test_a_change_that_moves_no_state_is_not_told_but_known() -> None:
    history = History()
    history.follow([stored()])

    assert history.follow([change(2, queue="bulk")]) == []
    assert history.follow([change(3, state="running")])[0].routing_key == "job.running.bulk"


def test_a_deleted_job_is_told_as_what_it_was() -> None:
    history = History()
    history.follow([stored()])
    grave = Change("a", Moment(1_700_000_000, 2), AT, {"state": "buried"}, ("queue", "name"))
    (whole,) = history.follow([grave])

    assert (whole.routing_key, whole.body.name) == ("job.buried.mail", "hello")


def test_a_redriven_job_has_no_reason_any_more() -> None:
    history = History()
    history.follow([stored(), change(2, state="dead", reason="exhausted")])
    again = Change("a", Moment(1_700_000_000, 3), AT, {"state": "pending"}, ("reason",))

    assert history.follow([again])[0].body.reason is None


def test_a_job_that_is_not_known_has_to_be_learned_and_one_that_is_born_has_not() -> None:
    history = History()
    changes = [change(1, "old", state="running"), stored(2, "new"), change(3, "new", state="dead")]

    assert history.unknown(changes) == ["old"]


def test_a_tombstone_alone_does_not_tell_what_the_job_was() -> None:
    grave = Change("a", Moment(1, 2), AT, {"state": "buried"}, whole=True)

    assert History().unknown([grave]) == ["a"]


def test_what_nobody_knows_any_more_is_null_and_its_key_has_no_queue() -> None:
    (told,) = History().follow([change(2, state="dead")])

    assert told.routing_key == "job.dead"
    assert (told.body.queue, told.body.attempt, told.body.name) == (None, None, None)
    assert "ce-dueqattempt" not in told.headers


def test_the_least_lately_seen_job_is_forgotten_first() -> None:
    history = History(remembered=2)
    history.follow(
        [stored(1, "a"), stored(2, "b"), change(3, "a", state="running"), stored(4, "c")]
    )

    assert history.unknown([change(5, each) for each in "abc"]) == ["b"]


def test_a_dead_job_says_what_it_died_of() -> None:
    dead = JobEvent(
        "a", State.DEAD, {"queue": "q"}, Moment(1, 1), AT, error=EventError(type="T", message="m")
    )

    assert '"error":{"type":"T","message":"m"}' in dead.body.model_dump_json()


def test_two_events_of_a_job_are_never_in_the_air_together() -> None:
    heard = {"job.queued.q": True, "job.running.q": True}
    a, b, a_again = event(1), event(2, "b"), event(3, state=State.RUNNING)

    assert list(flights([a, b, a_again], heard)) == [[a, b], [a_again]]


def test_of_a_key_that_nobody_hears_only_the_first_is_sent() -> None:
    heard: dict[str, bool] = {}
    events = [event(number, f"job-{number}") for number in range(5)]
    sent: list[JobEvent] = []
    for flight in flights(events, heard):
        sent += flight
        heard |= {each.routing_key: False for each in flight}

    assert sent == events[:1]


def test_a_key_that_is_heard_is_sent_whole() -> None:
    heard: dict[str, bool] = {}
    events = [event(number, f"job-{number}") for number in range(5)]
    sent: list[JobEvent] = []
    for flight in flights(events, heard):
        sent += flight
        heard |= {each.routing_key: True for each in flight}

    assert sent == events


def test_what_another_version_wrote_is_null_and_holds_up_nobody() -> None:
    history = History()
    (told, *others) = history.follow([stored(kind="of-tomorrow"), change(2, state="unheard-of")])

    assert (told.body.kind, told.body.name) == (None, "hello")
    assert others == []
