"""`dueq doctor`: is everything there, new enough and set up as it must be, and if not, what to do.

Looks and changes nothing. Exit code 1 if something has to be mended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta

from infra.cli.client import Gateway
from infra.cli.output import Format, emit_list, say, say_json, tell
from infra.exits import CommandFailed, Exit
from infra.roles.running import address
from infra.settings import load_settings
from pipeline.broker.topology import check_broker
from pipeline.clock import StoreClock, SystemChance
from pipeline.config import Settings
from pipeline.domain.errors import DueQError
from pipeline.queue.lease_queue import RedisLeaseQueue
from pipeline.queue.server import ServerFacts, UnfitServer
from pipeline.store.event_feed import MongoEventFeed
from pipeline.store.server import check_mongo

_PATIENCE = timedelta(seconds=3)
_LONGEST_LAG = timedelta(minutes=2)
_NO_WATCHER = (
    "nothing delayed, scheduled, retried or lost goes on: start `dueq watcher`; one that runs and "
    "is not heard of is stopped (state T in `ps ax`), hangs, or cannot reach Redis"
)
_OLDEST = {"RabbitMQ": (3, 10), "MongoDB": (6, 0), "Redis": (7, 0)}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `mend` says what to do when it is not `ok`."""

    check: str
    ok: bool
    found: str
    mend: str = ""


def run(form: Format) -> None:
    """Print what was found; ends by `CommandFailed` if something is wrong."""
    findings = asyncio.run(examine(load_settings()))
    wrong = [finding for finding in findings if not finding.ok]
    rows = [asdict(finding) for finding in findings]
    if form is Format.TABLE:
        for finding in findings:
            say(f"{'ok ' if finding.ok else 'BAD'}  {finding.check:<22} {finding.found}")
            if not finding.ok:
                say(f"{'':27}mend it: {finding.mend}")
    elif form is Format.JSON:
        say_json({"ok": not wrong, "findings": rows})
    else:
        emit_list({"items": rows}, form, (), key="check")
    if wrong:
        raise CommandFailed(Exit.FAILED, f"{len(wrong)} of {len(findings)} checks failed")
    tell("All is well.")


async def examine(settings: Settings) -> list[Finding]:
    """Every check, the servers side by side."""
    parts = await asyncio.gather(
        _asked("RabbitMQ", settings.amqp_url, lambda: _rabbitmq(settings)),
        _asked("MongoDB", settings.mongo_url, lambda: _mongodb(settings)),
        _asked("Redis", settings.redis_url, lambda: _redis(settings)),
        asyncio.to_thread(_gateway, settings),
    )
    return [finding for part in parts for finding in part]


async def _asked(
    server: str, url: str, ask: Callable[[], Awaitable[list[Finding]]]
) -> list[Finding]:
    """The findings about a server; one that does not answer is a finding itself."""
    try:
        return await ask()
    except (DueQError, ValueError) as error:
        variable = {"RabbitMQ": "DUEQ_AMQP_URL", "MongoDB": "DUEQ_MONGO_URL"}.get(
            server, "DUEQ_REDIS_URL"
        )
        mend = f"start it, or name another in {variable}; `dueq up` starts one of its own"
        return [Finding(f"{server} answers", ok=False, found=f"{address(url)}: {error}", mend=mend)]


async def _rabbitmq(settings: Settings) -> list[Finding]:
    report = await check_broker(settings.amqp_url)
    there = "there" if report.topology else "not there yet"
    return [
        *_answers("RabbitMQ", settings.amqp_url, report.version),
        Finding(
            "RabbitMQ topology",
            ok=report.topology,
            found=f"exchanges and queues are {there}",
            mend="start any `dueq ingest` or `dueq watcher`: it declares them",
        ),
        _alive(
            "ingest", report.consumers, "nobody takes jobs out of RabbitMQ: start `dueq ingest`"
        ),
    ]


async def _mongodb(settings: Settings) -> list[Finding]:
    report = await check_mongo(settings.mongo_url, _PATIENCE)
    found = f"set {report.replica_set}" if report.replica_set else "a lone server"
    return [
        *_answers("MongoDB", settings.mongo_url, report.version),
        *await _events(settings),
        Finding(
            "MongoDB replica set",
            ok=report.replica_set is not None,
            found=found,
            mend="start mongod with --replSet dueq, then in mongosh: rs.initiate()",
        ),
        Finding(
            "MongoDB primary",
            ok=report.primary,
            found="there is one" if report.primary else "there is none to write to",
            mend="look at rs.status() in mongosh: a majority of the members must be up",
        ),
    ]


async def _events(settings: Settings) -> list[Finding]:
    """Whether somebody tells what happens, and keeps up; nothing where events are off."""
    if settings.events == "off":
        return []
    feed = MongoEventFeed(settings.mongo_url, SystemChance(), _PATIENCE)
    try:
        lag = await feed.lag()
    finally:
        feed.close()
    found = "none told yet" if lag is None else f"{max(0.0, lag.total_seconds()):.0f} s behind"
    mend = (
        "start a `dueq watcher`, or look at its log: it waits for RabbitMQ, or cannot keep up; "
        "what happens is kept in MongoDB's oplog, and lost to events when that is full"
    )
    ok = lag is None or lag < _LONGEST_LAG
    return [Finding("lifecycle events", ok=ok, found=found, mend=mend)]


async def _redis(settings: Settings) -> list[Finding]:
    async with RedisLeaseQueue(settings.redis_url, StoreClock(), SystemChance()) as queue:
        facts = await queue.check_server()
        watchers, workers = await queue.watchers(), await queue.workers()
    return [
        *_answers("Redis", settings.redis_url, facts.version),
        _policy(facts),
        _alive("watcher", len(watchers), _NO_WATCHER),
        _alive("worker", len(workers), "no job is run: start `dueq worker`, or one over HTTP"),
    ]


def _alive(role: str, number: int, mend: str) -> Finding:
    """Whether any process of a role has been heard of within its time.

    One that froze is counted until that is over: watchers and workers for
    two leases, an ingest until RabbitMQ misses its heartbeats.
    """
    found = f"{number} alive" if number else "none is alive"
    return Finding(f"{role} alive", ok=number > 0, found=found, mend=mend)


def _policy(facts: ServerFacts) -> Finding:
    try:
        facts.require_noeviction()
    except UnfitServer:
        mend = "redis-cli CONFIG SET maxmemory-policy noeviction (and in redis.conf, to keep it)"
        found = f"maxmemory-policy is {facts.maxmemory_policy}"
        return Finding("Redis keeps its keys", ok=False, found=found, mend=mend)
    return Finding("Redis keeps its keys", ok=True, found="maxmemory-policy is noeviction")


def _answers(server: str, url: str, version: str) -> Iterator[Finding]:
    yield Finding(f"{server} answers", ok=True, found=address(url))
    oldest = _OLDEST[server]
    yield Finding(
        f"{server} version",
        ok=_numbers(version) >= oldest,
        found=version,
        mend=f"install {server} {oldest[0]}.{oldest[1]} or newer",
    )


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


def _gateway(settings: Settings) -> list[Finding]:
    """Whether it answers, and whether it can publish."""
    gateway = Gateway(settings.url)
    try:
        gateway.get("/livez")
    except CommandFailed as failure:
        why = str(failure).splitlines()[0]
        mend = "start `dueq gateway` (or all of it: `dueq up`), or name another in DUEQ_URL"
        return [Finding("gateway answers", ok=False, found=why, mend=mend)]
    alive = Finding("gateway answers", ok=True, found=settings.url)
    try:
        gateway.get("/readyz")
    except CommandFailed as failure:
        mend = "it cannot publish: look at RabbitMQ above and at the log of the gateway"
        return [alive, Finding("gateway is ready", ok=False, found=str(failure), mend=mend)]
    return [alive, Finding("gateway is ready", ok=True, found="it can publish")]
