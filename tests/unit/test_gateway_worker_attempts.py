"""What workers over HTTP say of their attempts, on fakes: the same fence as for one in Python."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import pytest_asyncio

from pipeline.domain.execution import Outcome
from pipeline.domain.states import State
from pipeline.ports import LiveNote, Progress
from pipeline.watchers.reaper import Reaper
from tests.http_worker_world import LEASE, Job, Shell, a_shell


@pytest_asyncio.fixture
async def shell() -> AsyncIterator[Shell]:
    async with a_shell() as shell:
        yield shell


async def test_a_result_is_recorded_settled_and_acknowledged(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    answer = await shell.end(job, result={"n": 2})
    assert (answer.status, answer.json["outcome"]) == (200, "succeeded")
    assert shell.state(job_id) is State.SUCCEEDED
    assert shell.leased() == set()
    assert (await shell.world.get(f"/api/jobs/{job_id}")).json["result"] == {"n": 2}


async def test_the_same_result_again_is_the_same_answer(shell: Shell) -> None:
    await shell.queued()
    job = await shell.job()
    first, again = await shell.end(job, result=1), await shell.end(job, result=1)
    assert (again.status, again.json) == (200, first.json)


async def test_a_gateway_that_dies_after_the_record_is_finished_by_the_next(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    shell.world.store.fail("settle", applied=False)
    assert (await shell.end(job)).status == 503
    assert shell.state(job_id) is State.RUNNING
    assert (await shell.end(job)).status == 200
    assert shell.state(job_id) is State.SUCCEEDED


async def test_a_failure_is_tried_again_as_the_job_says(shell: Shell) -> None:
    job_id = await shell.queued(retry={"max_attempts": 2})
    failure: Job = {"outcome": "failed", "error": {"message": "exit 3"}, "retry_after": 7}
    await shell.end(await shell.job(), **failure)
    assert shell.state(job_id) is State.PENDING
    assert shell.world.store.jobs[job_id].due_at == shell.world.clock.now() + timedelta(seconds=7)
    shell.world.clock.advance(7)
    await shell.world.queue.add(await shell.world.store.dispatch(timedelta(seconds=2), 10))
    await shell.end(await shell.job(), **failure)
    assert shell.state(job_id) is State.DEAD


async def test_a_failure_that_is_not_retryable_is_the_end(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.end(job, outcome="failed", retryable=False, error={"message": "no", "type": "bad"})
    assert shell.state(job_id) is State.DEAD
    told = (await shell.world.get(f"/api/jobs/{job_id}")).json
    assert (told["reason"], told["last_error"]["type"]) == ("not_retryable", "bad")


async def test_what_is_released_runs_again_at_once_and_counts_as_nothing(shell: Shell) -> None:
    job_id = await shell.queued()
    assert (await shell.end(await shell.job(), outcome="released")).status == 200
    stored = shell.world.store.jobs[job_id]
    assert (stored.state, stored.failures, stored.losses) == (State.PENDING, 0, 0)


@pytest.mark.parametrize(
    "body",
    [
        {"outcome": "failed"},
        {"outcome": "cancelled"},
        {"outcome": "failed", "error": {"message": "x"}, "result": 1},
        {"error": {"message": "x"}},
        {"retry_after": 3},
        {"result": "x" * 70_000},
        {"attempt": 0},
    ],
)
async def test_a_result_that_says_nothing_clear_is_refused(shell: Shell, body: Job) -> None:
    job_id = await shell.queued()
    answer = await shell.end(await shell.job(), **body)
    assert answer.status == 422, answer.body
    assert shell.state(job_id) is State.RUNNING


async def test_a_worker_that_falls_silent_loses_its_job_and_its_late_result(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.reap()
    late = await shell.end(job, result="too late")
    assert late.status == 409
    assert "lost is recorded" in late.json["detail"]
    stored = shell.world.store.jobs[job_id]
    assert (stored.state, stored.losses) == (State.PENDING, 1)
    record = shell.world.store.records[f"{job_id}/1"]
    assert (record.outcome, record.report["late"]["outcome"]) == (Outcome.LOST, "succeeded")
    assert (await shell.write(job, "x")).status == 409
    assert (await shell.beat(job)).json["stop"] == [{"id": job_id, "attempt": 1}]


async def test_a_result_is_nothing_without_the_lease_it_was_given(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    assert (await shell.end(job | {"lease": "guessed"})).status == 409
    assert (await shell.end(job | {"attempt": 2})).status == 409
    assert shell.state(job_id) is State.RUNNING
    unknown = job | {"id": "00000000-0000-7000-8000-000000000000"}
    assert (await shell.end(unknown)).status == 404


@pytest.mark.parametrize("spelt", [str.upper, lambda job_id: job_id.replace("-", "")])
async def test_an_id_may_be_spelt_as_a_language_spells_uuids(
    shell: Shell, spelt: Callable[[str], str]
) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    other = job | {"id": spelt(job_id)}
    assert (await shell.write(other, "x")).status == 204
    assert (await shell.beat(other)).json["running"] == [{"id": job_id, "attempt": 1}]
    assert (await shell.end(other)).status == 200
    assert shell.state(job_id) is State.SUCCEEDED


async def test_an_id_that_is_none_is_to_be_stopped(shell: Shell) -> None:
    job = {"id": "no-uuid", "attempt": 1, "lease": "l"}
    assert (await shell.beat(job)).json["stop"] == [{"id": "no-uuid", "attempt": 1}]


async def test_a_heartbeat_keeps_the_job_over_its_lease(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.world.queue.begin_generation("default", "g1")
    reaper = Reaper(shell.world.store, shell.world.queue, shell.world.clock, LEASE)
    for _ in range(8):
        await shell.world.clock.run(10)
        assert (await shell.beat(job)).json == {
            "registered": True, "running": [{"id": job_id, "attempt": 1}], "stop": []
        }  # fmt: skip
        await reaper.step()
    (listed,) = (await shell.world.get("/workers")).json["items"]
    assert listed["running"] == 1
    assert (await shell.end(job)).status == 200


async def test_a_heartbeat_writes_the_lease_again_after_a_wipe(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    shell.world.queue.wipe()
    assert (await shell.beat(job)).json["running"] == [{"id": job_id, "attempt": 1}]
    assert shell.leased() == {job_id}


async def test_a_heartbeat_tells_of_a_job_that_was_cancelled(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.world.post(f"/api/jobs/{job_id}/cancel")
    assert (await shell.beat(job)).json["stop"] == [{"id": job_id, "attempt": 1}]
    assert shell.leased() == set()
    assert (await shell.end(job)).status == 409
    record = shell.world.store.records[f"{job_id}/1"]
    assert (record.outcome, record.report["late"]["outcome"]) == (Outcome.CANCELLED, "succeeded")


async def test_a_job_that_its_worker_does_not_stop_in_time_has_timed_out(shell: Shell) -> None:
    job_id = await shell.queued(timeout=15)
    job = await shell.job()
    await shell.world.clock.run(20)
    assert (await shell.beat(job)).json["stop"] == []
    await shell.world.clock.run(10)
    assert (await shell.beat(job)).json["stop"] == [{"id": job_id, "attempt": 1}]
    assert shell.world.store.records[f"{job_id}/1"].outcome is Outcome.TIMED_OUT
    assert shell.leased() == set()


async def test_what_an_attempt_writes_is_its_log(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    for line in ("one\n", "two\n"):
        assert (await shell.write(job, line)).status == 204
    await shell.end(job)
    answer = await shell.world.get(f"/api/jobs/{job_id}/executions/1/log")
    assert answer.body == b"one\ntwo\n"


async def test_no_result_waits_for_its_log(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    shell.world.http_workers.go_down()
    assert (await shell.end(job)).status == 200
    assert shell.state(job_id) is State.SUCCEEDED


async def test_progress_and_log_are_seen_while_the_job_runs(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.write(job, "one\n", progress=0.5, note="row 21")
    await shell.write(job, "two\n")
    assert shell.world.live.notes == {(job_id, 1): LiveNote(Progress(0.5, "row 21"), "one\ntwo\n")}


async def test_how_far_an_attempt_came_is_in_its_record_as_of_any_worker(shell: Shell) -> None:
    job_id = await shell.queued()
    job = await shell.job()
    await shell.write(job, "one\n", progress=0.5, note="row 21")
    told = {"fraction": 0.5, "note": "row 21"}
    record = (await shell.end(job)).json
    assert (record["progress"], record["stdout"]) == (told, "one\n")
    assert (await shell.world.get(f"/api/jobs/{job_id}")).json["progress"] == told


async def test_a_note_that_says_nothing_of_progress_is_refused(shell: Shell) -> None:
    """And is not dropped without a word."""
    await shell.queued()
    answer = await shell.write(await shell.job(), "one\n", note="row 21")
    assert (answer.status, "goes with" in answer.json["detail"]) == (422, True)
