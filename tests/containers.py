"""The servers as containers, where an engine answers.

Untried: no engine was at hand where this was written; the first to have one tells how it went.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

with warnings.catch_warnings(action="ignore"):  # its RabbitMQ module warns at import
    from testcontainers.community.rabbitmq import RabbitMqContainer
    from testcontainers.community.redis import RedisContainer
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

BECOME_PRIMARY = "rs.initiate(); while (!db.hello().isWritablePrimary) sleep(50)"


@contextmanager
def rabbitmq() -> Iterator[tuple[str, Callable[[str], object]]]:
    """Its URL, and how to run Erlang code in it."""
    with RabbitMqContainer("rabbitmq:3.13") as container:
        yield (
            f"amqp://guest:guest@{_address(container, 5672)}/",
            lambda erlang: container.exec(["rabbitmqctl", "-q", "eval", erlang]),
        )


@contextmanager
def mongodb() -> Iterator[str]:
    """A set of one whose member is called by a name that only the container knows: hence
    `directConnection` instead of the set's name."""
    container = DockerContainer("mongo:6.0").with_exposed_ports(27017)
    container.with_command("mongod --replSet dueq --bind_ip_all")
    container.waiting_for(LogMessageWaitStrategy("Waiting for connections"))
    with container:
        container.exec(["mongosh", "--quiet", "--eval", BECOME_PRIMARY])
        options = "directConnection=true&w=majority&journal=true"
        yield f"mongodb://{_address(container, 27017)}/dueq?{options}"


@contextmanager
def redis(numbers: int) -> Iterator[str]:
    container = RedisContainer("redis:7.0")
    container.with_command(f"redis-server --maxmemory-policy noeviction --databases {numbers}")
    with container:
        yield f"redis://{_address(container, 6379)}/0"


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"
