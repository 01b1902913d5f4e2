"""The arithmetic of `dueq bench`, and its HTTP client, without a system to measure."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.bench.command import Options
from infra.bench.cost import Tree, spent
from infra.bench.figures import Run, Spread, over_runs, percentile, spread, throughput
from infra.bench.machine import cpu_model
from infra.bench.measure import Measure
from infra.bench.records import Counts, Records, pause
from infra.bench.report import Report
from infra.bench.wire import body_of, connected, post
from infra.cli.client import Gateway
from infra.exits import CommandFailed

pytestmark = pytest.mark.unit
HEAD = b"HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\n"


# -- figures


def test_a_percentile_is_a_value_that_was_measured() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert percentile(ordered, 50) == 50
    assert percentile(ordered, 99) == 99
    assert percentile([7.0], 99) == 7


def test_whatever_started_before_it_was_due_is_counted() -> None:
    measured = spread([3.0, -0.001, 1.0, 0.0])
    assert measured == Spread(p50=0.0, p99=3.0, max=3.0, early=1)


def test_runs_give_the_median_percentile_the_worst_maximum_and_every_early_one() -> None:
    runs = [Spread(1, 9, 10, 1), Spread(3, 5, 50, 0), Spread(2, 7, 20, 2)]
    assert over_runs(runs) == Spread(p50=2, p99=7, max=50, early=3)


def test_a_rate_is_the_median_of_the_runs_and_the_cost_the_median_of_their_sums() -> None:
    runs = [
        Run(1000, 1.0, {"worker": 0.1, "mongod": 0.2}, 0.01),
        Run(1000, 0.5, {"worker": 0.3, "mongod": 0.1}, 0.03),
        Run(1000, 2.0, {"worker": 0.2}, 0.02),
    ]
    measured = throughput(runs)
    assert measured.jobs_per_s == 1000
    assert measured.cpu_s_per_1000 == pytest.approx(0.3)
    assert measured.cpu == {"worker": 0.2, "mongod": 0.1}
    assert measured.generator == 0.02
    assert measured.rates == (1000, 2000, 500)


def test_without_processes_there_is_no_cost_rather_than_none_at_all() -> None:
    measured = throughput([Run(10, 1.0, {}, 0.0)])
    assert measured.cpu_s_per_1000 is None


# -- cost


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """`dueq up` (10) with a worker, RabbitMQ below a shell, mongod; and a mongod of others."""
    for pid, command, parent, ticks in (
        (1, "init", 0, 10_000),
        (10, "python", 1, 100),
        (11, "python (w) x", 10, 200),
        (12, "sh", 11, 300),
        (13, "rabbitmq-server", 10, 1),
        (14, "beam.smp", 13, 400),
        (15, "erl_child_setup", 14, 2),
        (16, "mongod", 10, 500),
        (20, "mongod", 1, 9_000),
    ):
        write_stat(tmp_path, pid, command, parent, ticks)
    (tmp_path / "self").mkdir()
    return tmp_path


def write_stat(proc: Path, pid: int, command: str, parent: int, ticks: int) -> None:
    (proc / str(pid)).mkdir(exist_ok=True)
    times = f"{ticks - 1} 1 0 0"
    text = f"{pid} ({command}) S {parent} 0 0 0 0 0 0 0 0 0 {times} 20 0"
    (proc / str(pid) / "stat").write_text(text)


def test_time_is_counted_by_role_by_server_and_else_for_the_parent(proc: Path) -> None:
    seconds = Tree(10, {11: "worker"}).read(proc)
    assert seconds == pytest.approx({"up": 1.01, "worker": 5, "rabbitmq": 4.02, "mongod": 5})


def test_processes_of_one_role_are_added_up(proc: Path) -> None:
    write_stat(proc, 17, "python", 10, 50)
    seconds = Tree(10, {11: "worker", 17: "worker"}).read(proc)
    assert seconds["worker"] == pytest.approx(5.5)


def test_a_process_that_died_leaves_no_figures(proc: Path) -> None:
    with pytest.raises(CommandFailed, match=r"worker \(pid 99\) died"):
        Tree(10, {99: "worker"}).read(proc)


def test_what_was_spent_is_told_per_thousand_jobs_the_dearest_first() -> None:
    before = {"gateway": 1.0, "redis": 2.0, "epmd": 3.0}
    after = {"gateway": 1.5, "redis": 4.0, "epmd": 3.0, "haproxy": 0.1}
    told = spent(before, after, jobs=500)
    assert told == pytest.approx({"redis": 4.0, "gateway": 1.0, "haproxy": 0.2})
    assert list(told) == ["redis", "gateway", "haproxy"]


# -- the wire


def test_an_answer_is_complete_when_all_of_its_body_is_here() -> None:
    assert body_of(HEAD[:-1]) is None
    assert body_of(HEAD + b"abc") is None
    assert body_of(HEAD + b"abcd") == b"abcd"


def test_an_answer_that_is_no_acceptance_ends_the_bench() -> None:
    refused = HEAD.replace(b"202 Accepted", b"503 Unavailable") + b"away"
    with pytest.raises(CommandFailed, match=r"503.*away"):
        body_of(refused)


def test_answers_come_in_the_order_of_their_requests_whoever_is_faster() -> None:
    with echo_server() as url, connected(url, 3) as wire:
        requests = [post("/", str(number).encode()) for number in range(20)]
        assert wire.drive(requests) == [str(number).encode() for number in range(20)]
        assert wire.ask(post("/", b"once more")) == b"once more"


@contextmanager
def echo_server() -> Iterator[str]:
    """Answers each request with its body, in two pieces, on any number of connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            with connection:
                while request := connection.recv(65_536):
                    body = request.partition(b"\r\n\r\n")[2]
                    head = b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n" % len(body)
                    connection.sendall(head[:20])
                    connection.sendall(head[20:] + body)

        def accept() -> None:
            for _ in range(3):
                threading.Thread(target=serve, args=listening.accept()[:1]).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        yield "http://{}:{}".format(*listening.getsockname())
        accepting.join()


# -- records


@contextmanager
def gateway(answers: dict[str, Any]) -> Iterator[Records]:
    """The records behind an HTTP server that gives these answers, by path and cursor."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            cursor = parse_qs(parts.query).get("cursor", [""])
            body = json.dumps(answers[parts.path + cursor[0]]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield Records(Gateway(f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()
        serving.join()


def job(id_: str, result: object, status: str = "succeeded") -> dict[str, Any]:
    return {"id": id_, "result": result, "status": status, "last_error": None}


def two_pages(*jobs: dict[str, Any]) -> dict[str, Any]:
    return {
        "/api/jobs": {"items": jobs[:1], "next_cursor": "2"},
        "/api/jobs2": {"items": jobs[1:], "next_cursor": None},
    }


def test_every_accepted_job_with_its_own_result_passes() -> None:
    with gateway(two_pages(job("a", 0), job("b", 1))) as records:
        records.check("run", {"a": 0, "b": 1})


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([job("a", 0)], "1 are not recorded"),
        ([job("a", 0), job("b", None)], "1 have a wrong record"),
        ([job("a", 0), job("b", 1), job("c", 2)], "3 were found"),
        ([job("a", 0), job("b", 1), job("b", 1)], "3 were found"),
        ([job("a", 0), job("b", None, "queued")], "job b of run is queued"),
    ],
)
def test_a_job_that_is_missing_wrong_or_too_many_ends_the_bench(
    found: list[dict[str, Any]], complaint: str
) -> None:
    with (
        gateway(two_pages(*found)) as records,
        pytest.raises(CommandFailed, match=complaint),
    ):
        records.check("run", {"a": 0, "b": 1})


def test_jobs_that_have_not_ended_are_open_whatever_their_state() -> None:
    states = {"cancelled": 1, "dead": 2, "pending": 3, "queued": 4, "running": 5, "succeeded": 6}
    with gateway({"/api/stats": {"jobs": states}}) as records:
        assert records.counts() == Counts(ended=9, open=12)


def test_the_end_is_looked_for_more_often_as_it_comes_near() -> None:
    assert pause(done=0, jobs=1000, passed=0.0) == 0.1
    assert pause(done=10, jobs=100_000, passed=1.0) == 10.0
    assert pause(done=500, jobs=1000, passed=1.0) == 0.5
    assert pause(done=999, jobs=1000, passed=1.0) == 0.01


# -- the report


def test_the_json_has_the_same_keys_whatever_was_measured() -> None:
    nothing = Report({}, None, None, {}, {}, {}).as_json
    cost = throughput([Run(1000, 0.5, {"worker": 0.25}, 0.5)])
    spreads = Spread(1.23456, 2.0, 3.0, 0)
    all_of_it = Report(dict.fromkeys(LOADED, cost), spreads, spreads, {}, {}, {}).as_json
    assert list(nothing) == list(all_of_it) == [*LOADED, *SPREAD, "versions", "machine", "setup"]
    assert nothing["single"] is None
    assert json.loads(json.dumps(all_of_it))["batch"] == {
        "jobs_per_s": 2000,
        "cpu_s_per_1000": 0.25,
        "cpu": {"worker": 0.25},
        "generator_cpu_s_per_1000": 0.5,
        "runs": [2000],
    }
    assert all_of_it["latency_ms"] == {"p50": 1.23, "p99": 2.0, "max": 3.0}
    assert all_of_it["punctuality_ms"] == {"p50": 1.23, "p99": 2.0, "max": 3.0, "early": 0}


def test_the_table_says_what_each_figure_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    cost = throughput([Run(1000, 0.5, {"worker": 0.25}, 0.5)])
    Report({Measure.BATCH: cost}, Spread(1, 2, 3, 0), Spread(1, 2, 3, 4), {}, {}, {}).show()
    shown = capsys.readouterr().out
    for line in (
        ("batch: jobs/s", "2,000", ">= 5,000"),
        ("batch: CPU s per 1,000 jobs", "0.250", "<= 0.35"),
        ("POST sent -> code starts: p99", "2.0 ms", "<= 30"),
        ("code starts - due: p50", "1.0 ms", "<= 4"),
        ("started before due", "4", "0"),
        ("worker", "0.2500"),
        ("(load generator, not counted)", "0.5000"),
    ):
        assert any(all(part in row for part in line) for row in shown.splitlines()), line


LOADED = [Measure.SINGLE, Measure.BATCH, Measure.AMQP]
SPREAD = ["latency_ms", "punctuality_ms"]


def test_only_what_was_asked_for_is_measured_and_so_many_jobs() -> None:
    options = Options(only=(Measure.PUNCTUALITY, Measure.SINGLE), rate=50)
    assert options.measures == (Measure.SINGLE, Measure.PUNCTUALITY)
    assert options.jobs_of(Measure.PUNCTUALITY) == 500
    assert Options().measures == tuple(Measure)
    assert Options(jobs=7).jobs_of(Measure.LATENCY) == 7


def test_the_machine_is_named_by_its_processor() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: Some CPU\nmodel name\t: Other\n") == "Some CPU"
    assert cpu_model("processor\t: 0\n")
