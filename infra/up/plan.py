"""What to run: how many of each role, on which ports, with which environment."""

import os
import site
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from infra.local.ports import Ports, is_free
from infra.local.servers import Urls
from infra.roles.ports import USUAL, is_loopback, url_at
from infra.settings import URL_FIELDS, variable
from pipeline.config import Settings

LOOPBACK = "127.0.0.0/8,::1/128"
LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Plan:
    """What `dueq up` was asked for. `port` None: the usual one; 0: free ports for everything."""

    data: Path = Path(".dueq")
    port: int | None = None
    gateways: int = 1
    ingests: int = 1
    watchers: int = 1
    workers: int = 1
    concurrency: int = 10
    imports: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many processes of each role."""
        return {
            "gateway": self.gateways,
            "ingest": self.ingests,
            "watcher": self.watchers,
            "worker": self.workers,
        }


@dataclass(frozen=True)
class Member:
    """One process to run, the same again when it died."""

    role: str
    number: int
    host: str
    port: int
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """`worker-2`: in messages, and of its log file."""
        return f"{self.role}-{self.number}"

    @property
    def url(self) -> str:
        """Its own HTTP address, as this machine reaches it."""
        return url_at(self.host, self.port)


def given_urls(environment: Mapping[str, str] = os.environ) -> Urls:
    """The servers that the environment names: used, and not started."""
    return Urls(**{
        field.removesuffix("_url"): environment[variable(field)]
        for field in URL_FIELDS
        if field != "url" and environment.get(variable(field))
    })  # fmt: skip


def members(plan: Plan, settings: Settings, urls: Urls, url: str) -> Iterator[Member]:
    """Every process of the plan. `url` is where clients find the gateway (or the balancer).

    Only what clients come in by takes the address that was asked for; all else is this machine's.
    """
    ports = _Choice(plan)
    options = {"worker": tuple(_of_workers(plan, settings, urls))}
    for role, count in plan.counts.items():
        for number in range(1, count + 1):
            host, port = LOCALHOST, _port_of_url(url)
            if (role, count) == ("gateway", 1):
                host = settings.http_host
            else:
                port = ports.of(role, number)
            yield Member(
                role,
                number,
                host,
                port,
                (sys.executable, "-P", "-m", "infra.cli", role, *options.get(role, ())),
                environment(settings, urls, url)
                | {
                    "DUEQ_HTTP_HOST": host,
                    "DUEQ_HTTP_FRONT_HOST": settings.front_host,
                    "DUEQ_HTTP_PORT": str(port),
                },
            )


def front_port(plan: Plan) -> int:
    """The port that clients use; a free one is kept for the next time."""
    if plan.port == 0:
        return Ports(plan.data).claim("http")["http"]
    return USUAL["gateway"] if plan.port is None else plan.port


def may_run_commands(settings: Settings, urls: Urls) -> bool:
    """Jobs of kind command run only when nobody but this machine can submit one."""
    hosts = [urlsplit(each or "").hostname for each in (urls.amqp, urls.mongo, urls.redis)]
    ours = (settings.http_host, settings.front_host)
    return all(is_loopback(host) for host in (*ours, *hosts))


def environment(settings: Settings, urls: Urls, url: str) -> dict[str, str]:
    """What every process gets beside our own environment."""
    names = {"amqp_url": urls.amqp, "mongo_url": urls.mongo, "redis_url": urls.redis, "url": url}
    result = {variable(field): value for field, value in names.items() if value}
    if "DUEQ_HTTP_ALLOW" not in os.environ:
        result["DUEQ_HTTP_ALLOW"] = LOOPBACK
    return result | _python_path()


def _python_path() -> dict[str, str]:
    """A checkout that is not installed has to be found by the children too."""
    root = str(Path(__file__).parents[2])
    if root in site.getsitepackages():
        return {}
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _of_workers(plan: Plan, settings: Settings, urls: Urls) -> Iterable[str]:
    yield f"--concurrency={plan.concurrency}"
    if may_run_commands(settings, urls):
        yield "--allow-commands"
    for module in plan.imports:
        yield f"--import={module}"


def _port_of_url(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


class _Choice:
    """Ports of the members: the usual ones as far as they are free, else any."""

    def __init__(self, plan: Plan) -> None:
        self._kept = Ports(plan.data)
        self._usual = plan.port != 0
        self._taken: set[int] = set()

    def of(self, role: str, number: int) -> int:
        # Several gateways stand behind the balancer, which has the usual port.
        if not self._usual or role == "gateway":
            return self._kept.claim(f"{role}-{number}")[f"{role}-{number}"]
        candidates = range(USUAL[role], USUAL[role] + 100)
        port = next(each for each in candidates if each not in self._taken and is_free(each))
        self._taken.add(port)
        return port
