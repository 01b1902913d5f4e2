"""What kind of server this Redis is: looked at once, at start, and by the doctor."""

from dataclasses import dataclass

from pipeline.domain.errors import DueQError
from pipeline.queue.connect import Lines, Reply


class UnfitServer(DueQError):
    """This Redis must not be used as it is configured; the text says how to mend it."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What matters of a Redis."""

    version: str
    maxmemory_policy: str

    def require_noeviction(self) -> None:
        """Raise `UnfitServer` if Redis may throw keys away when its memory is full."""
        if self.maxmemory_policy != "noeviction":
            raise UnfitServer(
                f"this Redis may evict keys (maxmemory-policy is {self.maxmemory_policy}): jobs "
                "would start late. Mend it: redis-cli CONFIG SET maxmemory-policy noeviction"
            )


async def facts_of(lines: Lines) -> ServerFacts:
    """Ask with INFO alone: managed servers refuse CONFIG."""
    server, memory = await lines.ask_all(("INFO", "server"), ("INFO", "memory"))
    facts = read_info(server) | read_info(memory)
    return ServerFacts(
        version=facts["redis_version"],
        maxmemory_policy=facts["maxmemory_policy"],
    )


def read_info(reply: Reply) -> dict[str, str]:
    """The fields of an INFO reply."""
    lines = (line.partition(":") for line in reply.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}
