"""POST /api/jobs and /api/jobs/batch: the hot routes.

Plain Starlette endpoints: dependency injection and response models would cost more than the job.
What they take and answer is written by hand in `gateway/openapi.py`.
"""

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from gateway.acceptance import Acceptance, read_traceparent
from gateway.asked import Refusal, read_array, read_lines, read_one
from gateway.deps import GatewayDeps
from gateway.fast_lane import Endpoint
from gateway.found_job import find_record
from gateway.guard import is_ndjson
from gateway.keys import key_of_one, read_header
from gateway.problems import Refused, problem, problem_of, render_flaw
from gateway.rendering import accepted, json_response, last_attempt, render_job
from gateway.request_body import read_body
from pipeline.domain.errors import Flaw, Unavailable, UnknownOutcome
from pipeline.domain.identity import id_of_key
from pipeline.domain.job import Job, Submission
from pipeline.domain.states import State

_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})")


class Submit:
    """The two endpoints."""

    def __init__(self, deps: GatewayDeps, acceptance: Acceptance) -> None:
        self._deps = deps
        self._acceptance = acceptance

    @property
    def posts(self) -> Mapping[str, Endpoint]:
        """By path, with and without `/api`."""
        return {
            "/api/jobs": self.one,
            "/api/jobs/batch": self.batch,
            "/jobs": self.one,
            "/jobs/batch": self.batch,
        }

    async def one(self, request: Request) -> Response:
        """One job: 202 when RabbitMQ has it, 200 with the job when it was waited for."""
        headers = dict(request.scope["headers"])
        if is_ndjson(headers.get(b"content-type", b"")):
            raise Refused(415, "one job is application/json; NDJSON goes to /api/jobs/batch")
        asked = read_one(await read_body(request, self._deps.limits.job_bytes, "a job"))
        key = key_of_one(read_header(headers.get(b"idempotency-key")), asked)
        submission = self._acceptance.submission(
            asked, id_of_key(key) if key else None, read_traceparent(headers.get(b"traceparent"))
        )
        try:
            status = await self._acceptance.accept(submission)
        except UnknownOutcome as error:
            return problem_of(error, id=submission.id)
        if wait := _wait_seconds(headers.get(b"prefer")):
            return await self._wait(submission, status, wait)
        return accepted(submission, status)

    async def _wait(self, submission: Submission, status: State, seconds: int) -> Response:
        """The job when it has ended in time, else as without waiting; it is accepted either way."""
        try:
            job = await self._acceptance.finished(submission.id, seconds)
            if job is None:
                return accepted(submission, status)
            return await self._ended(job)
        except Unavailable:
            return accepted(submission, status)

    async def _ended(self, job: Job) -> Response:
        last = await find_record(job.id, last_attempt(job), self._deps)
        headers = {"Location": f"/api/jobs/{job.id}", "Preference-Applied": "wait"}
        return json_response(render_job(job, last), 200, headers)

    async def batch(self, request: Request) -> Response:
        """Up to 10,000 jobs; a bad one costs only itself."""
        limits = self._deps.limits
        headers = dict(request.scope["headers"])
        data = await read_body(request, limits.request_bytes, "a request")
        read = read_lines if is_ndjson(headers.get(b"content-type", b"")) else read_array
        batch = await self._acceptance.identify(
            read(data, limits),
            read_header(headers.get(b"idempotency-key")),
            read_traceparent(headers.get(b"traceparent")),
        )
        try:
            await self._acceptance.publish_batch(batch)
        except UnknownOutcome as error:
            return problem_of(error, ids=[each.id for each in batch.submissions])
        if not batch.submissions:
            return _none_accepted(batch.refused)
        answer = {
            "accepted": len(batch.submissions),
            "ids": [each.id for each in batch.submissions],
            "rejected": [_render_refusal(refusal) for refusal in batch.refused],
        }
        return json_response(answer, 202)


def _none_accepted(refused: list[Refusal]) -> Response:
    flaws = [
        Flaw(f"/{refusal.index}{flaw.pointer}", flaw.detail)
        for refusal in refused
        for flaw in refusal.error.flaws
    ]
    rejected = [_render_refusal(refusal) for refusal in refused]
    return problem(422, "none of the jobs was accepted", flaws=flaws, rejected=rejected)


def _render_refusal(refusal: Refusal) -> Mapping[str, object]:
    return {
        "index": refusal.index,
        "code": refusal.error.code,
        "errors": [render_flaw(flaw) for flaw in refusal.error.flaws],
    }


def _wait_seconds(prefer: bytes | None) -> int:
    """The N of `Prefer: wait=N` (RFC 7240), 0 without."""
    if prefer is None:
        return 0
    found = _WAIT.search(prefer.lower())
    return int(found[1]) if found else 0
