"""Fixtures for every suite; the marker of a test is the name of the folder that it lies in."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from infra.local.servers import LocalServers, ServerFailed
from tests.servers import Kind, Plan, Servers, docker_answers, make_plan, private_local_servers
from tests.servers import running as running_servers

FOLDER = Path(__file__).parent
FIXTURES: dict[str, Kind] = {"amqp_url": "amqp", "mongo_url": "mongo", "redis_url": "redis"}
PLAN = pytest.StashKey[Plan]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms of chaos and bench")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[PLAN] = make_plan(os.environ, docker_answers)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Under nohup: whatever tests start would inherit that, and those that hang up wait for
        # ever. A handler of our own is as good for us, and is nobody's who is started.
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_report_header(config: pytest.Config) -> str:
    return f"servers: {config.stash[PLAN]} (started when a test asks for them)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(FOLDER).parts[0]
        item.add_marker(folder)
        if folder == "unit" and _kinds([item]):
            raise pytest.UsageError(f"{item.nodeid}: unit tests start no servers")


@pytest.fixture
def long_form(request: pytest.FixtureRequest) -> bool:
    """Whether `--long` asks for the long form of this test."""
    return bool(request.config.getoption("--long"))


@pytest_asyncio.fixture(scope="session")
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Servers]:
    """Of those kinds that tests of this session ask for."""
    plan = request.config.stash[PLAN]
    try:
        async with running_servers(plan, _kinds(request.session.items)) as servers:
            yield servers
    except ServerFailed as failure:
        pytest.fail(str(failure), pytrace=False)


@pytest.fixture
def amqp_url(servers: Servers) -> str:
    """A vhost with nothing in it."""
    return servers.fresh_amqp_url()


@pytest.fixture
def mongo_url(servers: Servers) -> Iterator[str]:
    """A database with nothing in it, dropped afterwards."""
    with servers.fresh_mongo_url() as url:
        yield url


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """A Redis number with nothing in it."""
    return servers.fresh_redis_url()


@pytest_asyncio.fixture
async def private_servers() -> AsyncIterator[LocalServers]:
    """Servers of this test alone, to be killed, stopped, wiped. Nobody watches them."""
    try:
        async with private_local_servers() as local:
            yield local
    except ServerFailed as failure:
        pytest.fail(str(failure), pytrace=False)


def _kinds(items: list[pytest.Item]) -> set[Kind]:
    asked = {name for item in items for name in getattr(item, "fixturenames", ())}
    return {kind for fixture, kind in FIXTURES.items() if fixture in asked}
