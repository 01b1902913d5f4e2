"""What kind of MongoDB this is: for `dueq doctor`, which changes nothing."""

from dataclasses import dataclass
from datetime import timedelta

from pipeline.store.connect import connect, database_of, translated


@dataclass(frozen=True, slots=True)
class MongoReport:
    """What matters of a MongoDB."""

    version: str
    replica_set: str | None
    """None: a lone server, which knows no majority writes."""
    primary: bool
    """Whether there is a primary to write to."""
    database: str


async def check_mongo(url: str, timeout: timedelta) -> MongoReport:
    """Ask whatever member answers; raises `Unavailable` with the reason."""
    client = connect(url, timeout)
    try:
        with translated():
            build = await client.admin.command("buildInfo")
            hello = await client.admin.command("hello")
    finally:
        client.close()
    return MongoReport(
        version=str(build["version"]),
        replica_set=hello.get("setName"),
        primary=bool(hello.get("isWritablePrimary") or hello.get("primary")),
        database=database_of(client).name,
    )
