"""Every crash window once, and the planted bugs that must be caught there.

The first test that asks lives through all of them at the same time; each test judges one.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from infra.local.servers import Urls
from tests.chaos.checker import Rule, violations
from tests.chaos.system import System
from tests.chaos.windows import (
    FATAL,
    WINDOWS,
    Outlived,
    Window,
    bystanders,
    live_through_alone,
    live_through_shared,
)
from tests.servers import Servers

# So that all three servers are started.
pytestmark = pytest.mark.usefixtures("amqp_url", "mongo_url", "redis_url")


@pytest_asyncio.fixture(scope="module")
async def outlived(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mapping[Window, Outlived]]:
    """What became of each window."""
    together = [window for window in (*FATAL, *WINDOWS) if not window.is_alone]
    alone = [window for window in (*FATAL, *WINDOWS) if window.is_alone]
    folder = tmp_path_factory.mktemp("windows")
    with servers.fresh_mongo_url() as mongo:
        urls = Urls(servers.fresh_amqp_url(), mongo, servers.fresh_redis_url())
        async with System(urls, folder / "shared") as system:
            await system.start(*bystanders(together))
            lives = [_alone(window, servers, folder / window.name) for window in alone]
            lives += [live_through_shared(w, system, servers.fresh_amqp_url()) for w in together]
            found = await asyncio.gather(*lives)
    yield dict(zip((*alone, *together), found, strict=True))


async def _alone(window: Window, servers: Servers, folder: Path) -> Outlived:
    with servers.fresh_mongo_url() as mongo:
        urls = Urls(servers.fresh_amqp_url(), mongo, servers.fresh_redis_url())
        return await live_through_alone(window, urls, folder)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
def test_a_process_that_dies_there_costs_nothing(
    window: Window, outlived: Mapping[Window, Outlived]
) -> None:
    life = outlived[window]
    assert life.crashes == 1
    assert violations(life.history) == []
    assert {told.status for told in life.history.told.values()} == {"succeeded"}


CAUGHT_BY = {
    "ingest-acknowledges-first": Rule.LOST,
    "worker-acknowledges-first": Rule.ORPHANED,
    "reconciler-is-off": Rule.LOST,
}


@pytest.mark.parametrize("window", FATAL, ids=lambda window: window.name)
def test_a_planted_bug_is_caught_where_the_real_code_passes(
    window: Window, outlived: Mapping[Window, Outlived]
) -> None:
    life = outlived[window]
    assert window.mutant is not None
    assert life.crashes == 1
    assert {each.rule for each in violations(life.history)} >= {CAUGHT_BY[window.mutant]}
