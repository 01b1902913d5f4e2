"""The attempts of a job: listed, in pages, one of them."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from pipeline.domain.execution import ErrorInfo, Failed
from tests.builders import an_execution
from tests.gateway_world import GatewayWorld, gateway_world


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


async def test_the_attempts_are_listed_oldest_first(world: GatewayWorld) -> None:
    report = {"exit_code": 3, "stdout": "so far\n", "stderr": "no\n"}
    job = await world.ended(Failed(ErrorInfo("exit", "exit code 3"), report=report))
    page = (await world.get(f"/jobs/{job.id}/executions")).json
    (attempt,) = page["items"]
    assert (attempt["job_id"], attempt["attempt"], attempt["outcome"]) == (job.id, 1, "failed")
    assert (attempt["worker"], attempt["exit_code"]) == ("worker-1", 3)
    assert attempt["error"] == {"type": "exit", "message": "exit code 3", "detail": None}
    assert attempt["finished_at"].endswith("Z")
    one = await world.get(f"/api/jobs/{job.id}/executions/1")
    assert one.json == attempt
    log = await world.get(f"/api/jobs/{job.id}/executions/1/log")
    assert (log.body, log.headers["content-type"]) == (
        b"so far\nno\n",
        "text/plain; charset=utf-8",
    )


async def test_an_attempt_that_was_not_made_is_404(world: GatewayWorld) -> None:
    job_id = await world.submitted()
    for path in ("executions/1", "executions/1/log"):
        assert (await world.get(f"/api/jobs/{job_id}/{path}")).status == 404
    assert (await world.get(f"/api/jobs/{job_id}/executions/x")).pointers == ["/attempt"]


async def test_many_attempts_come_in_pages(world: GatewayWorld) -> None:
    """The one that runs has no record yet; twelve come after two, though not as text."""
    job = replace(await world.started(), attempt=13)
    world.store.jobs[job.id] = job
    await world.store.record([an_execution(replace(job, attempt=n)) for n in range(1, 13)])
    seen, path = [], f"/api/jobs/{job.id}/executions?limit=5"
    page = (await world.get(path)).json
    while True:
        seen += [each["attempt"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        page = (await world.get(f"{path}&cursor={page['next_cursor']}")).json
    assert seen == list(range(1, 13))
    assert len((await world.get(path.partition("?")[0])).json["items"]) == 12


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [("cursor=-1", "/cursor"), ("cursor=x", "/cursor"), ("cursor=" + "9" * 30, "/cursor"),
     ("limit=501", "/limit"), ("limit=0", "/limit"), ("n=1", "/n")],
)  # fmt: skip
async def test_what_is_no_page_of_attempts_is_refused(
    world: GatewayWorld, asked: str, pointer: str
) -> None:
    job = await world.ended()
    answer = await world.get(f"/api/jobs/{job.id}/executions?{asked}")
    assert (answer.status, answer.pointers) == (422, [pointer])
