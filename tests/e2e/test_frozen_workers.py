"""A worker that is stopped (SIGSTOP) past its lease and goes on (SIGCONT), for each kind of job.

Another worker has run the job by then. One result is accepted. What the first one was still doing
is stopped; a result that it had already is offered late and refused (R6). Both are written down:
its attempt stays `lost`, with `late` beside it if it came back with a result, and its log says so.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractQueue

from tests.cable import Cable
from tests.e2e.running import Up, up
from tests.e2e.working import a_job, get, is_in, show, submit, worker
from tests.support import eventually

CODE = ["coroutine", "thread", "process", "command"]
LONG = 30.0
PATIENT = {"DUEQ_LEASE_SECONDS": "20"}
"""Of who shall not lose its lease, however busy the machine is."""


@pytest.fixture(scope="module")
def patchy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A system with short leases; the tests bring workers of their own."""
    with up(tmp_path_factory.mktemp("frozen"), DUEQ_LEASE_SECONDS="2") as running:
        yield running


@dataclass
class Frozen:
    """One job and the two workers that run it; of the first all ways to the world are in hand."""

    system: Up
    folder: Path
    job: dict[str, Any]
    settings: dict[str, str]

    @asynccontextmanager
    async def stopped_while_it_runs(self, has_begun: Callable[[int], Any]) -> AsyncIterator[str]:
        """The first worker is stopped while the second one runs the job, and goes on after that.

        In between is what lets attempts come to an end; `has_begun` tells of each.
        """
        job_id = await asyncio.to_thread(submit, self.system, self.job)
        with self.worker("first") as first:
            await eventually(lambda: has_begun(1), timeout=LONG)
            os.kill(first.pid, signal.SIGSTOP)
            with self.worker("second", **PATIENT):
                await eventually(lambda: has_begun(2), timeout=LONG)
                yield job_id
                await self.has_succeeded(job_id)
                os.kill(first.pid, signal.SIGCONT)
                await eventually(lambda: self.was_refused(job_id), timeout=LONG)
        self.only_the_second_counts(job_id)

    @asynccontextmanager
    async def stopped_with_a_result(self, has_begun: Callable[[int], Any]) -> AsyncIterator[str]:
        """MongoDB is out of reach for the first worker from when the body of this begins, and it is
        stopped when it has a result; it goes on, and reaches MongoDB, when the second one has
        another. Its lease is long enough for it to come to a result after its last heartbeat."""
        mongo = str(self.system.line["mongo"])
        async with Cable(mongo).laid() as cable:
            job_id = await asyncio.to_thread(submit, self.system, self.job)
            patient = {"DUEQ_MONGO_URL": direct(cable.url), "DUEQ_LEASE_SECONDS": "6"}
            with self.worker("first", **patient) as first:
                await eventually(lambda: has_begun(1), timeout=LONG)
                cable.stall()
                yield job_id
                await eventually(self.has_a_result, timeout=LONG)
                os.kill(first.pid, signal.SIGSTOP)
                with self.worker("second", **PATIENT):
                    await self.has_succeeded(job_id)
                cable.flow()
                os.kill(first.pid, signal.SIGCONT)
                refused = {"execution": f"{job_id}/1", "offered": "succeeded", "stands": "lost"}
                await eventually(lambda: self.was_told("record.refused", **refused), timeout=LONG)
        self.only_the_second_counts(job_id)
        assert self.records(job_id)[0]["late"]["outcome"] == "succeeded"

    def worker(self, name: str, **more: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        queue = str(self.job["queue"])
        return worker(self.system, self.folder, queue, name, **self.settings | more)

    async def has_succeeded(self, job_id: str) -> None:
        is_there = partial(asyncio.to_thread, is_in, self.system, job_id, "succeeded")
        await eventually(is_there, timeout=LONG)

    async def has_a_result(self) -> bool:
        """Of the first worker; it counts one when it offers it."""
        (url, *_) = [line["http"] for line in self.told() if line["event"] == "process.ready"]
        text = await asyncio.to_thread(lambda: urlopen(f"{url}/metrics", timeout=5).read().decode())
        return re.search(r"^dueq_run_seconds_count\S* 1.0$", text, re.MULTILINE) is not None

    def was_refused(self, job_id: str) -> bool:
        """Stopped for its lost lease, unless its result was quicker, which is refused then."""
        stopped = self.was_told("lease.lost", job=job_id)
        return stopped or self.was_told("record.refused", execution=f"{job_id}/1")

    def was_told(self, event: str, **fields: str) -> bool:
        """Whether the first worker says so in its log."""
        asked = {"event": event, **fields}
        return any(asked.items() <= line.items() for line in self.told())

    def told(self) -> list[dict[str, Any]]:
        lines = (self.folder / "first.log").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def only_the_second_counts(self, job_id: str) -> None:
        """One result was accepted, and the records tell what became of both attempts."""
        shown = show(self.system, job_id)
        assert (shown["status"], shown["attempt"]) == ("succeeded", 2)
        lost, succeeded = self.records(job_id)
        assert (lost["outcome"], succeeded["outcome"]) == ("lost", "succeeded")
        assert lost["error"]["type"] == "lost"
        assert lost["worker"] != succeeded["worker"]

    def records(self, job_id: str) -> list[dict[str, Any]]:
        """Its executions, oldest first."""
        items: list[dict[str, Any]] = json.loads(get(self.system, f"{job_id}/executions"))["items"]
        return items


# -- stopped while it runs


@pytest.mark.parametrize("kind", CODE)
async def test_code_that_was_frozen_past_its_lease_does_not_count(
    patchy: Up, tmp_path: Path, kind: str
) -> None:
    frozen = Frozen(patchy, tmp_path, a_job(kind, f"frozen-{kind}", tmp_path), {})
    async with frozen.stopped_while_it_runs(lambda n: (tmp_path / f"pid-{n}").exists()) as job_id:
        (tmp_path / "go").touch()
    if kind != "command":
        assert show(patchy, job_id)["result"] == "attempt 2"


async def test_a_request_that_was_frozen_past_its_lease_does_not_count(
    patchy: Up, tmp_path: Path
) -> None:
    """Its answer lies in the socket when the worker goes on."""
    with patient_receiver(tmp_path / "go") as receiver:
        frozen = Frozen(patchy, tmp_path, *receiver.job("frozen-http"))
        async with frozen.stopped_while_it_runs(lambda n: str(n) in receiver.asked) as job_id:
            (tmp_path / "go").touch()
            await eventually(lambda: sorted(receiver.answered) == ["1", "2"])
    assert frozen.records(job_id)[1]["body"] == "attempt 2"


async def test_a_publish_that_was_frozen_past_its_lease_does_not_count(
    patchy: Up, tmp_path: Path, inbox: AbstractQueue
) -> None:
    """It goes on while it connects to a broker that another secret of this name led to."""
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "BROKER"
    amqp = {"routing_key": inbox.name, "url": {"secret": secret.name}}
    settings = {"DUEQ_SECRETS_DIR": str(secret.parent)}
    frozen = Frozen(patchy, tmp_path, {"queue": "frozen-amqp", "amqp": amqp}, settings)
    async with Cable(str(patchy.line["amqp"])).laid() as cable:
        cable.stall()
        secret.write_text(cable.url)
        came = list[str]()

        async def begun(attempt: int) -> bool:
            if attempt == 1:
                return cable.connections == 1
            change(secret, str(patchy.line["amqp"]))
            message = await inbox.get(no_ack=True, fail=False)
            came.extend([] if message is None else [str(message.headers["DueQ-Attempt"])])
            assert came == [str(attempt)], f"attempts that came: {came}"
            return True

        async with frozen.stopped_while_it_runs(begun):
            cable.flow()


def change(secret: Path, value: str) -> None:
    """At once: nobody ever reads half of it."""
    new = secret.with_suffix(".new")
    new.write_text(value)
    new.replace(secret)


# -- stopped when it has a result


@pytest.mark.parametrize("kind", CODE)
async def test_the_late_result_of_code_is_refused(patchy: Up, tmp_path: Path, kind: str) -> None:
    frozen = Frozen(patchy, tmp_path, a_job(kind, f"late-{kind}", tmp_path), {})
    async with frozen.stopped_with_a_result(lambda n: (tmp_path / f"pid-{n}").exists()) as job_id:
        (tmp_path / "go").touch()
    if kind != "command":
        assert show(patchy, job_id)["result"] == "attempt 2"


async def test_the_late_answer_to_a_request_is_refused(patchy: Up, tmp_path: Path) -> None:
    with patient_receiver(tmp_path / "go") as receiver:
        frozen = Frozen(patchy, tmp_path, *receiver.job("late-http"))
        async with frozen.stopped_with_a_result(lambda n: str(n) in receiver.asked) as job_id:
            (tmp_path / "go").touch()
    assert receiver.answered == ["1", "2"]
    assert frozen.records(job_id)[1]["body"] == "attempt 2"


async def test_the_late_confirm_of_a_message_is_refused(
    patchy: Up, tmp_path: Path, inbox: AbstractQueue
) -> None:
    async with Cable(str(patchy.line["amqp"])).laid() as cable:
        cable.stall()
        amqp = {"routing_key": inbox.name, "url": {"secret": "BROKER"}}
        settings = {"DUEQ_SECRET_BROKER": cable.url}
        frozen = Frozen(patchy, tmp_path, {"queue": "late-amqp", "amqp": amqp}, settings)
        async with frozen.stopped_with_a_result(lambda n: cable.connections == n):
            cable.flow()
    copies = [await inbox.get(no_ack=True) for _ in range(2)]
    assert [copy.headers["DueQ-Attempt"] for copy in copies if copy] == ["1", "2"]


def direct(url: str) -> str:
    """That leads to where it says, not to what the server says of itself."""
    return url.replace("replicaSet=dueq", "directConnection=true")


@dataclass
class Receiver:
    """A URL, and which attempts have asked there and were answered."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    def job(self, queue: str) -> tuple[dict[str, Any], dict[str, str]]:
        """One that calls it, and what a worker needs to be told for that."""
        http = {"url": self.url, "timeout": 60}
        return {"queue": queue, "http": http}, {"DUEQ_HTTP_ALLOW": "127.0.0.1"}


@contextmanager
def patient_receiver(go: Path) -> Iterator[Receiver]:
    """It answers when `go` exists."""
    receiver = Receiver()
    gone = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            attempt = self.headers["DueQ-Attempt"]
            receiver.asked.append(attempt)
            while not go.exists() and not gone.wait(0.02):
                pass
            body = f"attempt {attempt}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            receiver.answered.append(attempt)

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            receiver.url = f"http://127.0.0.1:{server.server_port}/"
            yield receiver
        finally:
            gone.set()
            server.shutdown()
            thread.join()


@pytest_asyncio.fixture
async def inbox(patchy: Up) -> AsyncIterator[AbstractQueue]:
    """Each test's own: a frozen attempt may have published a copy, which nobody takes."""
    connection = await aio_pika.connect(str(patchy.line["amqp"]))
    async with connection:
        channel = await connection.channel()
        yield await channel.declare_queue(f"frozen-{uuid.uuid4()}", durable=True)
