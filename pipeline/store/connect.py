"""The connection to MongoDB, and what its errors mean.

Every write is `w: majority` and journaled. No call waits longer than `timeout`, which must be well
below the lease: a start that is still under way when its lease has run out helps nobody (R5).
motor is named here and nowhere else; its database is typed by the four calls that the store makes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import errors

from pipeline.domain.errors import Unavailable, UnknownOutcome

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]
Database = AsyncIOMotorDatabase[Document]
Client = AsyncIOMotorClient[Document]

_SERVER = "MongoDB"
_DATABASE = "dueq"


def connect(url: str, timeout: timedelta) -> Client:
    """A client; it connects at its first use and again by itself."""
    milliseconds = int(timeout.total_seconds() * 1000)
    return AsyncIOMotorClient(
        url,
        tz_aware=True,
        w="majority",
        journal=True,
        readConcernLevel="majority",
        timeoutMS=milliseconds,
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=2_000,
        appname="dueq",
    )


def database_of(client: Client) -> Database:
    """The database that the URL names, `dueq` if it names none."""
    return client.get_default_database(_DATABASE)


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors become ours: was it certainly not done, or may it have been?"""
    try:
        yield
    except errors.ServerSelectionTimeoutError as error:
        raise Unavailable(_SERVER, _brief(error)) from error
    except (errors.BulkWriteError, errors.WriteConcernError) as error:
        raise UnknownOutcome(_SERVER, _brief(error)) from error
    except errors.OperationFailure as error:
        raise _failure(error) from error
    except errors.PyMongoError as error:
        raise UnknownOutcome(_SERVER, _brief(error)) from error


def _failure(error: errors.OperationFailure) -> Unavailable:
    if error.timeout or error.has_error_label("RetryableWriteError"):
        return UnknownOutcome(_SERVER, _brief(error))
    return Unavailable(_SERVER, _brief(error))


def _brief(error: Exception) -> str:
    return str(error).split(", Timeout:")[0][:300]


async def server_time(client: Client) -> datetime:
    """MongoDB's clock, cut to milliseconds."""
    with translated():
        hello = await client.admin.command("hello")
    local_time: datetime = hello["localTime"]
    return local_time.replace(tzinfo=UTC)  # commands ignore `tz_aware`
