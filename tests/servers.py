"""The servers that tests of adapters and of the whole run on, started when a test asks for one.

In this order, for each server: a given URL (`DUEQ_TEST_AMQP_URL`, `DUEQ_TEST_MONGO_URL`,
`DUEQ_TEST_REDIS_URL`), an engine that answers (Docker), private servers of this machine. When none
of these can be had, the test fails with the line that installs them; it is never skipped.

One server of a kind serves the whole session; each test has a place of its own in it: a vhost, a
database, a Redis number. On given servers the number is the one in the URL and so is the vhost, in
which everything called as DueQ calls it is deleted before each test.
"""

import itertools
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pymongo
import redis
from amqpstorm.uri_connection import UriConnection

from infra.local.servers import LocalServers, Urls
from pipeline.broker import topology

Kind = Literal["amqp", "mongo", "redis"]
KINDS: tuple[Kind, ...] = ("amqp", "mongo", "redis")
Evaluate = Callable[[str], object]
"""Runs Erlang code in the RabbitMQ node."""

DOCKER_SOCKET = Path("/var/run/docker.sock")
VHOSTS_AT_ONCE = 20
ADD_VHOSTS = """\
[begin
    ok = rabbit_vhost:add(Vhost, <<"dueq">>),
    rabbit_auth_backend_internal:set_permissions(
        <<"guest">>, Vhost, <<".*">>, <<".*">>, <<".*">>, <<"dueq">>)
end || Vhost <- [%s]], ok.
"""
REDIS_NUMBERS = 512


@dataclass(frozen=True)
class Plan:
    """Where each server comes from."""

    given: Urls
    engine: bool

    def source(self, kind: Kind) -> Literal["given", "docker", "local"]:
        if getattr(self.given, kind):
            return "given"
        return "docker" if self.engine else "local"

    def __str__(self) -> str:
        return ", ".join(f"{kind} {self.source(kind)}" for kind in KINDS)


def make_plan(environment: Mapping[str, str], engine_answers: Callable[[], bool]) -> Plan:
    """The engine is asked only when something is not given."""
    given = Urls(*(environment.get(f"DUEQ_TEST_{kind.upper()}_URL") for kind in KINDS))
    all_given = given.amqp and given.mongo and given.redis
    return Plan(given, engine=not all_given and engine_answers())


def docker_answers() -> bool:
    """Within two seconds; that there is a client or a socket proves nothing."""
    if "DOCKER_HOST" not in os.environ and not DOCKER_SOCKET.exists():
        return False
    with warnings.catch_warnings(action="ignore"):
        import docker  # slow, and rarely needed
    try:
        return bool(docker.from_env(timeout=2).ping())
    except (docker.errors.DockerException, OSError):
        return False


class Servers(AbstractContextManager["Servers"]):
    """Those that run, and a fresh place in each for every test."""

    def __init__(self, urls: Urls, evaluate: Evaluate | None, redis_numbers: int | None) -> None:
        """`evaluate` makes vhosts, `redis_numbers` tells how many there are: None on given ones."""
        self._urls = urls
        self._vhosts = _new_vhosts(evaluate) if evaluate else None
        self._numbers = itertools.cycle(range(1, redis_numbers)) if redis_numbers else None

    def __exit__(self, *exception: object) -> None:
        if "_mongo" in self.__dict__:
            self._mongo.close()

    def fresh_amqp_url(self) -> str:
        assert self._urls.amqp
        if self._vhosts:
            return urlsplit(self._urls.amqp)._replace(path=f"/{next(self._vhosts)}").geturl()
        _delete_topology(self._urls.amqp)
        return self._urls.amqp

    @contextmanager
    def fresh_mongo_url(self) -> Iterator[str]:
        assert self._urls.mongo
        name = f"dueq_test_{uuid.uuid4().hex[:12]}"
        yield urlsplit(self._urls.mongo)._replace(path=f"/{name}").geturl()
        self._mongo.drop_database(name)

    @cached_property
    def _mongo(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(self._urls.mongo)

    def fresh_redis_url(self) -> str:
        assert self._urls.redis
        url = self._urls.redis
        if self._numbers:
            url = urlsplit(url)._replace(path=f"/{next(self._numbers)}").geturl()
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url


@asynccontextmanager
async def running(plan: Plan, needed: Collection[Kind]) -> AsyncIterator[Servers]:
    """Starts what is needed and not given."""
    own = [kind for kind in needed if plan.source(kind) != "given"]
    if plan.engine and own:
        with _docker_servers(plan.given, own) as servers, servers:
            yield servers
    else:
        async with _local_servers(plan.given, own) as servers:
            with servers:
                yield servers


@asynccontextmanager
async def private_local_servers(given: Urls = Urls()) -> AsyncIterator[LocalServers]:  # noqa: B008
    """In a directory that is removed afterwards."""
    data_dir = Path(tempfile.mkdtemp(prefix="dueq-test-"))
    local = LocalServers(data_dir, given)
    try:
        await local.start()
        yield local
    finally:
        await local.stop()
        shutil.rmtree(data_dir, ignore_errors=True)


@asynccontextmanager
async def _local_servers(given: Urls, own: Collection[Kind]) -> AsyncIterator[Servers]:
    # What no test of this session asks for is "given" as well, so that it is not started.
    others = {kind: getattr(given, kind) or "unused:" for kind in KINDS if kind not in own}
    async with private_local_servers(Urls(**others)) as local:
        evaluate = local.rabbitmq.evaluate if local.rabbitmq else None
        yield Servers(local.urls, evaluate, REDIS_NUMBERS if local.redis else None)


@contextmanager
def _docker_servers(given: Urls, own: Collection[Kind]) -> Iterator[Servers]:
    from tests import containers  # slow to import, and rarely needed

    urls, evaluate = given, None
    with ExitStack() as stack:
        if "amqp" in own:
            amqp, evaluate = stack.enter_context(containers.rabbitmq())
            urls = replace(urls, amqp=amqp)
        if "mongo" in own:
            urls = replace(urls, mongo=stack.enter_context(containers.mongodb()))
        if "redis" in own:
            url = stack.enter_context(containers.redis(REDIS_NUMBERS))
            urls = replace(urls, redis=url)
        yield Servers(urls, evaluate, REDIS_NUMBERS if "redis" in own else None)


def _new_vhosts(evaluate: Evaluate) -> Iterator[str]:
    """Twenty at a time: asking the node costs half a second, a vhost 20 ms."""
    for batch in itertools.count():
        names = [f"test-{batch}-{number}" for number in range(VHOSTS_AT_ONCE)]
        evaluate(ADD_VHOSTS % ",".join(f'<<"{name}">>' for name in names))
        yield from names


def _delete_topology(url: str) -> None:
    with UriConnection(url) as connection, connection.channel() as channel:
        for queue in topology.QUEUES:
            channel.queue.delete(queue)
        for exchange in topology.EXCHANGES:
            channel.exchange.delete(exchange.name)
