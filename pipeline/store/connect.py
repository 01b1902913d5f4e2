"""The connection to MongoDB, and what its errors mean.

Every write is `w: majority` and journaled. No call waits longer than `timeout`, which must be well
below the lease: a start that is still under way when its lease has run out helps nobody (R5).
motor is named here and nowhere else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo import errors

from pipeline.domain.errors import DueQError, Unavailable, UnknownOutcome

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]
RawCollection = AsyncIOMotorCollection[RawBSONDocument]
Database = AsyncIOMotorDatabase[Document]
Client = AsyncIOMotorClient[Document]
Session = AsyncIOMotorClientSession

_SERVER = "MongoDB"
_DATABASE = "dueq"
DUPLICATE = 11000
_NEVER = frozenset({2, 9, 22, 53, 121, 171, 10334, 17280})
"""Codes of a write that the server refuses for what is in it: BadValue, FailedToParse, InvalidBSON,
InvalidIdField, DocumentValidationFailure, CannotIndexParallelArrays, BSONObjectTooLarge,
KeyTooLong."""


class UnfitUrl(DueQError):
    """The driver cannot make anything of this URL; the text says why and has no password."""


def connect(url: str, timeout: timedelta) -> Client:
    """A client; it connects at its first use and again by itself.

    Raises `UnfitUrl` for what only MongoDB's own rules forbid: an option, a port of a name in DNS.
    """
    return _client(url, timeout, "timeoutMS", "dueq")


def connect_to_follow(url: str, timeout: timedelta) -> Client:
    """A client for a change stream, whose calls wait for something to happen.

    `timeoutMS` would overwrite how long a call may wait on the server; a dead connection shows by
    the silence of its socket instead.
    """
    return _client(url, timeout, "socketTimeoutMS", "dueq events")


def _client(url: str, timeout: timedelta, bound: str, name: str) -> Client:
    """One that shows itself as `name`; `bound` is the option that ends what takes too long."""
    milliseconds = int(timeout.total_seconds() * 1000)
    options: dict[str, Any] = {
        "tz_aware": True,
        "w": "majority",
        "journal": True,
        "readConcernLevel": "majority",
        "serverSelectionTimeoutMS": milliseconds,
        "connectTimeoutMS": 2_000,
        "appname": name,
        bound: milliseconds,
    }
    try:
        return AsyncIOMotorClient(url, **options)
    except (errors.ConfigurationError, ValueError) as error:
        raise UnfitUrl(_brief(error)) from None


def database_of(client: Client) -> Database:
    """The database that the URL names, `dueq` if it names none."""
    return client.get_default_database(_DATABASE)


def raw(collection: Collection) -> RawCollection:
    """The same one, for documents that are bytes already."""
    return cast("RawCollection", collection)


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


def failed_writes(error: errors.BulkWriteError) -> dict[int, int]:
    """Index → error code of what is there already and of what the server will never take.

    Raises `UnknownOutcome` when anything else went wrong with one of them: an election, a full
    disk, a shutdown pass, and the same write later may succeed. So it does after a write-concern
    error, which makes even the good ones unknown.
    """
    details = error.details or {}
    if details.get("writeConcernErrors"):
        raise UnknownOutcome(_SERVER, "the write was not acknowledged by a majority") from error
    failures = details.get("writeErrors", [])
    for failure in failures:
        if failure["code"] not in _NEVER | {DUPLICATE}:
            raise UnknownOutcome(_SERVER, str(failure.get("errmsg"))[:300]) from error
    return {failure["index"]: failure["code"] for failure in failures}


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
