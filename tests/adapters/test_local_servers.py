"""What infra.local promises, tried on real servers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pymongo
import pytest
import redis
from amqpstorm.message import Message
from amqpstorm.uri_connection import UriConnection

from infra.local.servers import DataDirInUse, LocalServers, ServerFailed, Urls
from tests.support import eventually

ONLY_REDIS = Urls(amqp="unused:", mongo="unused:")
ONLY_MONGO = Urls(amqp="unused:", redis="unused:")
QUORUM = {"x-queue-type": "quorum"}


async def test_each_of_them_answers_when_start_returns(private_servers: LocalServers) -> None:
    write_everywhere(private_servers.urls)
    read_everywhere(private_servers.urls)
    assert {name for name, _ in private_servers.processes} == {
        "RabbitMQ", "epmd", "MongoDB", "Redis",
    }  # fmt: skip
    with redis.Redis.from_url(str(private_servers.urls.redis)) as client:
        assert client.info("memory")["maxmemory_policy"] == "noeviction"


async def test_ports_and_data_are_the_same_after_a_stop_and_a_start(tmp_path: Path) -> None:
    first = LocalServers(tmp_path)
    await first.start()
    write_everywhere(first.urls)
    await first.stop()

    second = LocalServers(tmp_path)
    await second.start()
    assert second.urls == first.urls
    read_everywhere(second.urls, but_redis=True)
    await second.stop()


async def test_one_that_dies_is_restarted_on_its_port(private_servers: LocalServers) -> None:
    write_everywhere(private_servers.urls)
    await asyncio.sleep(1)  # a quorum queue's first second: SERVERS.md
    before = dict(private_servers.processes)
    async with watched(private_servers):
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: everyone_is_new(before, private_servers), timeout=30)
        for server in (private_servers.rabbitmq, private_servers.mongodb, private_servers.redis):
            assert server
            await eventually(server.answers, timeout=30)
    read_everywhere(private_servers.urls, but_redis=True)


async def test_one_that_dies_again_and_again_is_restarted_each_time(tmp_path: Path) -> None:
    servers = LocalServers(tmp_path, ONLY_REDIS)
    await servers.start()
    async with watched(servers):
        for _ in range(3):
            before = dict(servers.processes)
            os.kill(before["Redis"], signal.SIGKILL)
            await eventually(partial(everyone_is_new, before, servers))
            await eventually(lambda: redis_answers(servers.urls))
    await servers.stop()


async def test_a_killed_parent_leaves_no_process_and_a_directory_that_starts(
    tmp_path: Path,
) -> None:
    with parent_process(tmp_path) as (parent, printed):
        write_everywhere(Urls(printed["amqp"], printed["mongo"], printed["redis"]))
        await asyncio.sleep(1)  # a quorum queue's first second
        parent.kill()
    # At once, while the old ones are still writing down what they have.
    successor = LocalServers(tmp_path)
    await successor.start()
    assert not [pid for _, pid in printed["processes"] if is_running(pid)]
    assert successor.urls.mongo == printed["mongo"]
    read_everywhere(successor.urls, but_redis=True)
    await successor.stop()


async def test_a_parent_that_is_told_to_stop_stops_its_servers_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUEQ_AMQP_URL", "unused:")  # RabbitMQ takes its time; the others will do
    with parent_process(tmp_path) as (parent, printed):
        assert len(printed["processes"]) == 2
        parent.terminate()
        assert parent.wait(timeout=20) == 0
        assert not [pid for _, pid in printed["processes"] if is_running(pid)]


async def test_a_directory_in_use_is_refused_and_says_so(tmp_path: Path) -> None:
    first, second = LocalServers(tmp_path, ONLY_REDIS), LocalServers(tmp_path, ONLY_REDIS)
    await first.start()
    with pytest.raises(DataDirInUse, match="in use by another process"):
        await second.start()
    await second.stop()
    assert redis_answers(first.urls)
    await first.stop()
    await second.start()
    await second.stop()


async def test_a_kept_port_that_somebody_took_is_replaced_and_the_data_kept(
    tmp_path: Path,
) -> None:
    first = LocalServers(tmp_path, ONLY_MONGO)
    await first.start()
    write_to_mongo(first.urls)
    await first.stop()

    taker = await asyncio.start_server(hang_up, "127.0.0.1", ports_of(tmp_path)["mongo"])
    async with taker:
        second = LocalServers(tmp_path, ONLY_MONGO)
        await second.start()
        assert second.urls != first.urls
        read_from_mongo(second.urls)
        await second.stop()


async def test_servers_of_others_are_left_alone(tmp_path: Path) -> None:
    others = LocalServers(tmp_path / "others", ONLY_REDIS)
    await others.start()
    # Even when this directory remembers their port as its own.
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "ports.json").write_text((tmp_path / "others/ports.json").read_text())
    ours = LocalServers(tmp_path / "ours", ONLY_REDIS)
    await ours.start()
    assert ours.urls.redis != others.urls.redis
    await ours.stop()
    assert redis_answers(others.urls)
    await others.stop()


async def test_with_all_urls_given_nothing_is_started(tmp_path: Path) -> None:
    given = Urls("amqp://there", "mongodb://there", "redis://there")
    servers = LocalServers(tmp_path, given)
    await servers.start()
    assert servers.urls == given
    assert servers.processes == []
    await servers.stop()


async def test_stop_may_come_twice_before_a_start_and_in_the_middle_of_one(
    tmp_path: Path,
) -> None:
    servers = LocalServers(tmp_path, ONLY_MONGO)
    await servers.stop()
    start = asyncio.create_task(servers.start())
    await eventually(lambda: servers.processes)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await servers.stop()
    await servers.stop()
    assert servers.processes == []


async def test_a_server_that_cannot_start_says_why_and_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "mongodb").mkdir()
    (tmp_path / "mongodb" / "data").write_text("a file where mongod wants a folder")
    servers = LocalServers(tmp_path, Urls(amqp="unused:"))
    with pytest.raises(ServerFailed, match="MongoDB"):
        await servers.start()
    assert servers.processes == []


async def test_a_missing_program_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerFailed, match=r"Redis.*\n.*sudo sh .*apt\.sh redis-server"):
        await LocalServers(tmp_path / "data", ONLY_REDIS).start()


# ---- what the tests above say it with


@asynccontextmanager
async def watched(servers: LocalServers) -> AsyncIterator[None]:
    watch = asyncio.create_task(servers.watch())
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait([watch])


@contextmanager
def parent_process(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "infra.local", str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout
            yield parent, json.loads(parent.stdout.readline())
        finally:
            parent.kill()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def ports_of(data_dir: Path) -> dict[str, int]:
    ports: dict[str, int] = json.loads((data_dir / "ports.json").read_text())
    return ports


def is_running(pid: int) -> bool:
    """A zombie does not run: it only waits for somebody to ask how it ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "State:\tZ" not in status


def everyone_is_new(before: dict[str, int], servers: LocalServers) -> bool:
    now = dict(servers.processes)
    return now.keys() == before.keys() and all(now[name] != before[name] for name in now)


def write_everywhere(urls: Urls) -> None:
    write_to_mongo(urls)
    with redis.Redis.from_url(str(urls.redis)) as client:
        client.set("kept", "yes")
    with UriConnection(str(urls.amqp)) as connection, connection.channel() as channel:
        channel.confirm_deliveries()
        channel.queue.declare("kept", durable=True, arguments=QUORUM)
        assert channel.basic.publish("yes", "kept", properties={"delivery_mode": 2})


def read_everywhere(urls: Urls, but_redis: bool = False) -> None:
    read_from_mongo(urls)
    if not but_redis:
        with redis.Redis.from_url(str(urls.redis)) as client:
            assert client.get("kept") == b"yes"
    with UriConnection(str(urls.amqp)) as connection, connection.channel() as channel:
        message = channel.basic.get("kept")
        assert isinstance(message, Message)
        assert message.body == "yes"
        message.reject(requeue=True)


def write_to_mongo(urls: Urls) -> None:
    with pymongo.MongoClient[dict[str, Any]](urls.mongo) as client:
        client.get_default_database().kept.insert_one({"kept": "yes"})


def read_from_mongo(urls: Urls) -> None:
    with pymongo.MongoClient[dict[str, Any]](urls.mongo) as client:
        assert client.get_default_database().kept.find_one({"kept": "yes"})


def redis_answers(urls: Urls) -> bool:
    try:
        with redis.Redis.from_url(str(urls.redis)) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
