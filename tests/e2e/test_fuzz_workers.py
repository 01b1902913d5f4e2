"""Anything at all is sent to the routes of workers over HTTP: never a 5xx, and neighbours work on.

Gateway, MongoDB and Redis are real. `--long` for more of it.
"""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.running import up

_EXAMPLES = 3000 if "--long" in sys.argv else 80
SETTINGS = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
    database=None,
)
Answer = tuple[int, Any]
Job = dict[str, Any]


@dataclass
class Door:
    """A gateway, and a good worker beside all that is sent to it."""

    http: str
    victim: Job = field(default_factory=dict)
    """A job that runs at somebody else's."""
    over: Job = field(default_factory=dict)
    """A job that has ended."""

    def send(
        self, method: str, path: str, body: bytes | None = None, media: str = "application/json"
    ) -> Answer:
        """The status and what the JSON of the answer says."""
        line = HTTPConnection(urlsplit(self.http).netloc, timeout=30)
        try:
            headers = {} if body is None else {"Content-Type": media}
            line.request(method, path, body, headers)
            answer = line.getresponse()
            data = answer.read()
        finally:
            line.close()
        return answer.status, json.loads(data) if data else None

    def post(self, path: str, **body: Any) -> Answer:
        """As a worker does."""
        return self.send("POST", path, json.dumps(body).encode())

    def job(self, worker: str, queue: str) -> Job:
        """A new one, which runs at this worker."""
        assert self.post("/api/jobs", queue=queue, payload=1)[0] == 202
        assert (
            self.post("/api/workers/register", id=worker, queues=[queue], concurrency=9)[0] == 200
        )
        status, job = self.send("GET", f"/api/workers/{worker}/next?wait=30")
        assert status == 200
        return dict(job)

    def neighbour(self) -> None:
        """A good worker runs a good job."""
        job = self.job("good", "good")
        mine = {"attempt": job["attempt"], "lease": job["lease"]}
        assert self.post("/api/workers/heartbeat", worker="good", jobs=[{"id": job["id"], **mine}])[
            1
        ] == {"registered": True, "running": [{"id": job["id"], "attempt": 1}], "stop": []}
        assert self.post(f"/api/jobs/{job['id']}/log", **mine, text="said")[0] == 204
        status, record = self.post(f"/api/jobs/{job['id']}/result", **mine, outcome="succeeded")
        assert (status, record["outcome"], record["stdout"]) == (200, "succeeded", "said")

    def is_unharmed(self) -> bool:
        """Whether what runs at somebody else's runs there still, and what has ended has ended."""
        _, victim = self.send("GET", f"/api/jobs/{self.victim['id']}")
        _, over = self.send("GET", f"/api/jobs/{self.over['id']}")
        return (victim["status"], victim["attempt"], over["status"], over["result"]) == (
            "running", 1, "succeeded", "mine",
        )  # fmt: skip


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with up(tmp_path_factory.mktemp("fuzz"), "--workers", "0", DUEQ_LEASE_SECONDS="600") as system:
        door = Door(system.http)
        door.victim, door.over = door.job("victim", "theirs"), door.job("ended", "over")
        mine = {"attempt": 1, "lease": door.over["lease"]}
        path = f"/api/jobs/{door.over['id']}/result"
        assert door.post(path, **mine, outcome="succeeded", result="mine")[0] == 200
        yield door


# -- what is sent

DEEP = b"[" * 40 + b"]" * 40
NASTY = [
    b"", b"{", b"[]", b"nul", b"5", b'"\\u0000"', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"[" * 100_000,
    b'{"worker":' * 5000, b'{"result": ' + DEEP + b"}", b'{"attempt": 9223372036854775808}',
    b'{"attempt": -1}', b'{"attempt": 1e999}', b'{"attempt": NaN}', b'{"lease": "\\ud800"}',
    b'{"id": "\\u0000"}', b'{"queues": ["' + b'a","' * 5000 + b'"]}', b'{"worker": {"$ne": 1}}',
    b'{"jobs": [' + b"{}," * 10_001 + b"{}]}", b'{"pid": 1e400}', b'{"host": "\\n\\u001b[2J"}',
]  # fmt: skip
FIELDS = ["id", "queues", "concurrency", "host", "pid", "version", "worker", "jobs", "attempt",
          "lease", "text", "progress", "note", "outcome", "result", "error", "message", "type",
          "detail", "retryable", "retry_after", "\0", "$where", "a.b", ""]  # fmt: skip
WORDS = ["good", "a:3", "succeeded", "failed", "timed_out", "released", "cancelled", "\0",
         "\x1b[2J", "\ud800", "x" * 70_000]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=5),
    max_leaves=15,
)  # fmt: skip


def packed(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    body = draw(st.one_of(st.binary(max_size=100), st.sampled_from(NASTY), JSON.map(packed)))
    if draw(st.integers(0, 3)) == 0:
        body = body[: draw(st.integers(0, len(body)))]
    return body


ODD_NAMES = st.sampled_from(
    ["%00", "%ff", "..", "%2e%2e%2f", "a%20b", "a" * 5000, "{id}", "%F0%9F"]
)
NAMES = ODD_NAMES | st.text(min_size=1, max_size=10).map(
    lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="")
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, bytes | None]:
    """A method, a path and a body."""
    name = draw(NAMES)
    wait = draw(st.sampled_from(["0", "0.01", "-1", "61", "nan", "inf", "x", ""]))
    asked = draw(st.sampled_from(["", "&request=", "&request=%00", "&request=r", "&request=%ff"]))
    path = draw(
        st.sampled_from(
            ["/api/workers/register", "/api/workers/heartbeat", f"/api/jobs/{name}/log",
             f"/api/jobs/{name}/result", "/workers/heartbeat", f"/api/workers/{name}/x"]
        )
    )  # fmt: skip
    if draw(st.integers(0, 4)) == 0:
        method = draw(st.sampled_from(["GET", "DELETE"]))
        tail = f"/next?wait={wait}{asked}" if method == "GET" else ""
        return method, f"/api/workers/{name}{tail}", None
    return "POST", path, draw(bodies())


@pytest.mark.timeout(120 + _EXAMPLES)
@SETTINGS
@given(batch=st.lists(calls(), min_size=1, max_size=10))
def test_whatever_is_sent_is_answered_and_neighbours_work_on(
    door: Door, batch: list[tuple[str, str, bytes | None]]
) -> None:
    for method, path, body in batch:
        status, problem = door.send(method, path, body)
        assert status < 500, (path, body, problem)
    door.neighbour()
    assert door.is_unharmed()


@SETTINGS
@given(more=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), seed=st.integers())
def test_who_knows_the_shape_and_not_the_lease_changes_nothing(
    door: Door, more: dict[str, Any], seed: int
) -> None:
    """Good but for one thing: a stranger's lease, an attempt that was not, one that is over."""
    chance = random.Random(seed)
    job = chance.choice([door.victim, door.over])
    lease = chance.choice(["guessed", door.over["lease"], door.victim["lease"].upper() + "x"])
    mine = {"attempt": chance.choice([1, 2, 2**63 - 1]), "lease": lease}
    if (mine["attempt"], lease, job["id"]) == (1, door.over["lease"], door.over["id"]):
        mine["attempt"] = 2
    call = {"outcome": "succeeded", "result": 1} | {k: v for k, v in more.items() if k != "lease"}
    for verb, body in (("result", mine | call | {"attempt": mine["attempt"]}), ("log", mine)):
        status, problem = door.send("POST", f"/api/jobs/{job['id']}/{verb}", packed(body))
        assert status in (409, 413, 422), (verb, body, problem)
    held = packed({"worker": "good", "jobs": [{"id": job["id"], **mine}]})
    status, beaten = door.send("POST", "/api/workers/heartbeat", held)
    assert (status, beaten["running"]) == (200, [])
    assert door.is_unharmed()


@pytest.mark.parametrize(
    "media", ["text/plain", "", "application/json; charset=utf-7", "\u00e4", "application/xml"]
)
def test_another_media_type_is_no_heartbeat(door: Door, media: str) -> None:
    status, _ = door.send("POST", "/api/workers/heartbeat", b"\xff", media)
    assert status in (400, 415, 422)
    door.neighbour()


def test_huge_bodies_are_refused_and_large_ones_are_not(door: Door) -> None:
    job = door.job("good", "good")
    mine = {"attempt": 1, "lease": job["lease"]}
    path = f"/api/jobs/{job['id']}"
    for size, status in ((64 * 1024, 204), (64 * 1024 + 1, 422), (2**19, 413)):
        assert door.post(f"{path}/log", **mine, text="ä" * size)[0] == status
    assert door.post(f"{path}/log", **mine, text="\0\x1b\n")[0] == 204
    held = [{"id": job["id"], **mine}] * 10_000
    status, beaten = door.post("/api/workers/heartbeat", worker="good", jobs=held)
    assert (status, len(beaten["running"])) == (200, 10_000)
    odd = {"$where": {"a.b": [{"": "\0"}], "$ref": None}}
    status, record = door.post(f"{path}/result", **mine, outcome="succeeded", result=odd)
    assert (status, record["result"]) == (200, odd)
    assert record["stdout"].endswith("\0\x1b\n")
    assert door.is_unharmed()
