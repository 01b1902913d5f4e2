"""Http jobs that want to reach what is not theirs: this machine, its network, its metadata.

Every URL of the table ends without a connection to a listener that stands on every address of this
machine. The names resolve as the test says; everything else is what a worker runs.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from pipeline.domain.body import read_spec
from pipeline.domain.errors import Rejected
from pipeline.domain.execution import Failed, Succeeded
from tests.builders import a_job
from tests.endings import failure, success
from tests.http_world import Names, call, executing, receiving, redirect

PUBLIC, PUBLIC_6 = "93.184.216.34", "2606:4700:4700::1111"
NAMES = {
    "localhost": [["127.0.0.1", "::1"]],
    "ip6-localhost": [["::1"]],
    "app.localhost": [["127.0.0.1"]],
    "loopback.example": [["127.0.0.1"]],
    "loopback6.example": [["::1"]],
    "any.example": [["0.0.0.0"]],
    "any6.example": [["::"]],
    "intranet.example": [["10.0.0.5"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "nat64.example": [["64:ff9b::7f00:1"]],
    "sixtofour.example": [["2002:7f00:1::1"]],
    "teredo.example": [["2001:0:4136:e378:8000:63bf:80ff:fffe"]],
    "linklocal.example": [["fe80::1%lo"]],
    "metadata.google.internal": [["169.254.169.254"]],
    "mixed.example": [[PUBLIC, "127.0.0.1"]],
    "mixed-last.example": [["127.0.0.1", PUBLIC]],
    "mixed6.example": [[PUBLIC_6, "::1"]],
    "mixed-private.example": [[PUBLIC, "192.168.0.10"]],
}
HOSTS = [
    # this machine, as numbers
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001",
    "0x7f.0x0.0x0.0x1", "0x7f.1", "0177.0.0.1", "0177.1", "017700000001", "127.000.000.001",
    "0", "0x0", "00.0.0.0", "0.0.0.0", "127.0.0.1.", "0000127.0.0.1", "127%2e0%2e0%2e1",
    # this machine, in other digits and dots
    "①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1", "⑯⑨。②⑤④。⑯⑨｡②⑤④", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",  # noqa: RUF001
    # IPv6, and IPv4 inside it
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2002:a00:1::1]", "[2001:0:7f00:1::1]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fd12:3456::1]", "[fec0::1]", "[ff02::1]",
    "[2001:db8::1]", "[5f00::1]", "[100::1]",
    # private networks, and what is no place at all
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.0.1",
    "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    # metadata services
    "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
    "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "169.254.170.2",
    "168.63.129.16", "100.100.100.200", "192.0.0.192", "[fd00:ec2::254]",
    # names
    *NAMES, "LOCALHOST", "localhost.", "LoopBack.Example.",
]  # fmt: skip
URLS = [
    *(f"http://{host}:{{port}}/" for host in HOSTS),
    # who is the host here?
    "http://user@127.0.0.1:{port}/",
    "http://93.184.216.34@127.0.0.1:{port}/",
    "http://93.184.216.34:80@127.0.0.1:{port}/",
    "http://93.184.216.34%40127.0.0.1:{port}/",
    "http://93.184.216.34\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@93.184.216.34/",
    "http://127.0.0.1:{port}#@93.184.216.34/",
    "http://127.0.0.1:{port}?@93.184.216.34/",
    "http://@127.0.0.1:{port}/",
    "http://:@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1:{port} HTTP/1.1\r\nHost: x",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}/",
    # other doors
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "dict://127.0.0.1:{port}/info",
    "file:///etc/passwd",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "ws://127.0.0.1:{port}/",
    "jar:http://127.0.0.1:{port}!/",
    "data:text/plain,x",
]
NEVER = ("forbidden_target", "invalid_url")


@dataclass
class Listener:
    """Counts who connects, on every address of this machine."""

    port: int = 0
    reached: int = 0


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.reached += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    everywhere = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    async with await asyncio.start_server(count, sock=everywhere):
        listener.port = everywhere.getsockname()[1]
        yield listener


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(set(URLS)) >= 60


async def test_the_listener_of_these_tests_can_be_reached(listener: Listener) -> None:
    for host in ("127.0.0.1", "[::1]", "localhost", "[::ffff:127.0.0.1]"):
        url = f"http://{host}:{listener.port}/"
        success(await call(url, "127.0.0.0/8", "::1", resolver=Names(NAMES)))
    assert listener.reached == 4


@pytest.mark.parametrize("url", URLS)
async def test_no_hostile_url_reaches_anybody(listener: Listener, url: str) -> None:
    asked = {"http": {"url": url.format(port=listener.port)}}
    try:
        read_spec(asked)
    except Rejected:
        return  # it never becomes a job
    async with executing(resolver=Names(NAMES)) as executors:
        ending = failure(await executors.run(a_job(body=asked)))
    if "%" in url:  # no name and no number: nobody resolves it
        assert ending.error.type in (*NEVER, "unreachable")
    else:
        assert ending.error.type in NEVER, ending.error
        assert not ending.retryable
    assert listener.reached == 0


@pytest.mark.parametrize("url", URLS)
async def test_no_redirect_to_one_of_them_is_followed(listener: Listener, url: str) -> None:
    """From a host that may be reached."""
    async with receiving() as receiver:
        receiver.answer = redirect(url.format(port=listener.port).encode("unicode_escape").decode())
        names = Names(NAMES | {"allowed.example": [["127.0.0.1"]]})
        start = f"http://allowed.example:{receiver.port}/"
        ending = failure(await call(start, "allowed.example", redirects=3, resolver=names))
        assert ending.error.type in (*NEVER, "forbidden_redirect", "redirects", "unreachable")
        assert listener.reached == 0
        assert all(r.headers["Host"].startswith("allowed.example") for r, _ in receiver.requests)


async def test_a_name_that_is_another_address_the_next_time_is_judged_again() -> None:
    """DNS rebinding: the first answer may be reached, all later ones are this machine's."""
    names = Names({"rebind.example": [["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"]]})
    async with receiving() as receiver:
        url = f"http://rebind.example:{receiver.port}/"
        # Each executor has a cache of its own.
        endings = [await call(url, "127.0.0.1", resolver=names) for _ in range(3)]
    assert [type(ending) for ending in endings] == [Succeeded, Failed, Failed]
    assert {failure(ending).error.type for ending in endings[1:]} == {"forbidden_target"}
    assert len(names.asked) == 3


async def test_between_the_judgement_and_the_connection_no_name_is_resolved_again() -> None:
    """One question a connection: there is no second answer that could be another."""
    names = Names({"rebind.example": [["127.0.0.1"], ["127.0.0.2"]]})
    async with receiving() as receiver:
        url = f"http://rebind.example:{receiver.port}/"
        success(await call(url, "127.0.0.1", resolver=names))
    assert names.asked == ["rebind.example"]


async def test_one_forbidden_answer_forbids_the_name_though_another_would_answer() -> None:
    async with receiving() as receiver:
        for answers in (["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"]):
            names = Names({"mixed.example": [answers]})
            url = f"http://mixed.example:{receiver.port}/"
            ending = failure(await call(url, "127.0.0.1", resolver=names))
            assert ending.error.type == "forbidden_target"
        assert receiver.requests == []


async def test_a_resolver_that_lets_all_pass_meets_the_guard_of_the_socket(
    listener: Listener,
) -> None:
    """Two walls: a literal address is never resolved, and still not reached."""
    names = Names({})
    ending = failure(await call(f"http://127.0.0.1:{listener.port}/", "10.0.0.0/8", resolver=names))
    assert ending.error.type == "forbidden_target"
    assert names.asked == []
    assert listener.reached == 0


async def test_a_redirect_to_the_metadata_service_is_refused() -> None:
    async with receiving() as receiver:
        receiver.answer = redirect("http://169.254.169.254/latest/meta-data/iam/")
        ending = failure(await call(receiver.url, redirects=5))
        assert (ending.error.type, ending.retryable) == ("forbidden_target", False)
        assert len(receiver.requests) == 1


async def test_what_is_forbidden_looks_the_same_whether_somebody_listens_or_not(
    listener: Listener,
) -> None:
    """Or a job would be a port scanner."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ports = (listener.port, free.getsockname()[1])
        endings = [await call(f"http://127.0.0.1:{port}/", "10.0.0.0/8") for port in ports]
    assert endings[0] == endings[1]


async def test_a_listed_host_may_be_reached_and_opens_no_door_for_others() -> None:
    """The connection that the listed name left in the pool must not serve another name."""
    async with receiving() as receiver, executing("localhost") as executors:
        listed = a_job(body={"http": {"url": f"http://localhost:{receiver.port}"}})
        other = a_job(body={"http": {"url": f"http://127.0.0.1:{receiver.port}"}})
        success(await executors.run(listed))
        assert failure(await executors.run(other)).error.type == "forbidden_target"


@pytest.mark.parametrize("redirects", [0, 1])
async def test_a_listed_host_is_no_way_to_the_metadata_service(redirects: int) -> None:
    """Its name may be answered for by somebody else than who listed it."""
    names = Names({"listed.example": [["169.254.169.254"]]})
    url = "http://listed.example/latest/meta-data/"
    async with receiving() as receiver:
        receiver.answer = redirect(url)
        start = receiver.url if redirects else url
        allow = ("127.0.0.1", "listed.example")
        ending = failure(await call(start, *allow, redirects=redirects, resolver=names))
    assert ending.error.type == "forbidden_target"


async def test_names_that_nobody_answers_for_keep_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine's resolver tries for many seconds, in a thread that nobody can stop."""
    silence = threading.Event()
    ask = socket.getaddrinfo

    def slow(host: str, *more: Any, **named: Any) -> Any:
        if host.endswith(".silent.example"):
            silence.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return ask(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with receiving() as receiver, executing("localhost") as executors:
        bodies = [{"http": {"url": f"http://{n}.silent.example/"}} for n in range(20)]
        asking = [asyncio.ensure_future(executors.run(a_job(body=body))) for body in bodies]
        await asyncio.sleep(0)
        url = f"http://localhost:{receiver.port}/"
        async with asyncio.timeout(10):
            success(await executors.run(a_job(body={"http": {"url": url}})))
        silence.set()
        endings = [failure(ending) for ending in await asyncio.gather(*asking)]
    assert {ending.error.type for ending in endings} == {"unreachable"}
