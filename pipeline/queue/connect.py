"""Connections to one Redis, and what becomes of a call when one breaks.

A call that was sent and not answered is repeated once, on a new connection: every script and
command of this package may be said twice. Then it is `UnknownOutcome`. A connection that could not
be made is `Unavailable` at once. The driver's own retries (10, each up to 5 s) are not used: by
then a lease is over. Nor are its pool and its timer for each read, which cost more than the calls.

Connections belong to the event loop that made them: a thread with a loop of its own builds its own.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.queue.scripts import Script

Word = str | int
Reply = Any
"""What Redis answers: str, int, None or a list of these."""


class Lines:
    """Connections, each used by one call at a time; at most `most`, so that no crowd opens many.

    A call is given up after `patience` seconds.
    """

    def __init__(self, url: str, *, patience: float, most: int) -> None:
        self._arguments = _arguments_of(url)
        self._patience = patience
        self._room = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._closed = False

    async def run(self, script: Script, keys: Sequence[str], words: Sequence[Word] = ()) -> Reply:
        """The reply of a script, which is sent whole only when Redis does not know it."""
        try:
            return await self.ask("EVALSHA", script.sha, len(keys), *keys, *words)
        except _ScriptUnknown:
            return await self.ask("EVAL", script.text, len(keys), *keys, *words)

    async def run_all(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Word]]]
    ) -> list[Reply]:
        """The replies of a script to several (keys, words), sent in one go; not atomic."""
        known = [("EVALSHA", script.sha, len(keys), *keys, *words) for keys, words in calls]
        try:
            return await self.ask_all(*known)
        except _ScriptUnknown:
            (keys, words), *_ = calls
            first = ("EVAL", script.text, len(keys), *keys, *words)
            return await self.ask_all(first, *known[1:])

    async def ask(self, *command: Word) -> Reply:
        """The reply of one command."""
        return (await self.ask_all(command))[0]

    async def ask_all(self, *commands: tuple[Word, ...]) -> list[Reply]:
        """The replies of several commands, sent in one go; not atomic."""
        packed = b"".join(_pack(command) for command in commands)
        try:
            return await self._talk(packed, len(commands))
        except UnknownOutcome as first:
            try:
                return await self._talk(packed, len(commands))
            except Unavailable as again:
                raise first from again

    async def ask_once(self, *command: Word) -> Reply:
        """The reply of a command that must not be repeated: a blocking read."""
        return (await self._talk(_pack(command), 1))[0]

    async def aclose(self) -> None:
        """Close what is idle; a call under way closes its own when it ends."""
        self._closed = True
        while self._idle:
            await self._idle.pop().disconnect()

    async def _talk(self, packed: bytes, count: int) -> list[Reply]:
        async with self._room:
            line = self._idle.pop() if self._idle else await self._connected()
            replies = await self._exchange(line, packed, count)
            if self._closed:
                await line.disconnect()
            else:
                self._idle.append(line)
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            await self._forget_idle()  # a demoted master: look for the new one
        for reply in replies:
            _raise_if_error(reply)
        return replies

    async def _exchange(self, line: Connection, packed: bytes, count: int) -> list[Reply]:
        try:
            async with asyncio.timeout(self._patience):
                await line.send_packed_command(packed, check_health=False)
                return [await _read(line) for _ in range(count)]
        except (RedisError, OSError) as error:
            # If Redis went away, the idle connections are as dead as this one: the repeat must
            # not be spent on one of them.
            await line.disconnect(nowait=True)
            await self._forget_idle()
            raise UnknownOutcome("Redis", str(error) or "no answer in time") from error
        except BaseException:
            await line.disconnect(nowait=True)
            raise

    async def _forget_idle(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _connected(self) -> Connection:
        if self._closed:
            raise Unavailable("Redis", "this process has closed its connections")
        line = self._arguments[0](**self._arguments[1])
        try:
            async with asyncio.timeout(self._patience):
                await line.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            await line.disconnect(nowait=True)
            if isinstance(error, RedisError | OSError):
                raise Unavailable("Redis", str(error) or "no connection in time") from error
            raise
        return line


class _ScriptUnknown(Exception):
    """Redis was restarted since it last saw this script."""


def _raise_if_error(reply: Reply) -> None:
    if isinstance(reply, NoScriptError):
        raise _ScriptUnknown
    if isinstance(reply, ResponseError):
        raise Unavailable("Redis", str(reply)) from reply


def pairs(reply: Reply) -> Iterator[tuple[Any, Any]]:
    """A reply that is name, value, name, value, …"""
    return zip(reply[::2], reply[1::2], strict=True)


def _pack(command: tuple[Word, ...]) -> bytes:
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # its stub allows one word
    return packed


async def _read(line: Connection) -> Reply:
    try:
        return await line.read_response()
    except ResponseError as error:
        return error


def _arguments_of(url: str) -> tuple[type[Connection], dict[str, Any]]:
    arguments: dict[str, Any] = {**parse_url(url)}
    kind = arguments.pop("connection_class", Connection)
    return kind, arguments | {
        "protocol": 2,
        "decode_responses": True,
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,
    }
