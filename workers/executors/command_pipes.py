"""Our ends of the pipes of a command.

Not those of a subprocess transport. uvloop makes sockets, and no command can open a socket by the
name `/dev/stdout`. asyncio, cancelled while it starts a command, kills the leader alone and waits
for the pipes to close, which is never as long as the leader's children hold them. These are opened
and closed without any waiting, so that nobody can be cancelled in between.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack

_CHUNK = 64 * 1024


class Output:
    """What a command writes, taken as it comes."""

    def __init__(self, take: Callable[[bytes], None], theirs: ExitStack) -> None:
        """`theirs` closes the command's end, here, when the command has it."""
        self.closed = asyncio.Event()
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._ours, self.for_command = os.pipe()
        theirs.callback(os.close, self.for_command)
        os.set_blocking(self._ours, False)
        self._loop.add_reader(self._ours, self._read)

    def close(self) -> None:
        """Read no more; whoever still writes gets a broken pipe."""
        if not self.closed.is_set():
            self.closed.set()
            self._loop.remove_reader(self._ours)
            os.close(self._ours)

    def _read(self) -> None:
        try:
            data = os.read(self._ours, _CHUNK)
        except BlockingIOError:
            return
        if data:
            self._take(data)
        else:
            self.close()  # nobody holds its other end


class Input:
    """What a command reads. Who never reads it, or has gone, does not hold us up."""

    def __init__(self, data: bytes, theirs: ExitStack) -> None:
        self._left = memoryview(data)
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self.for_command, self._ours = os.pipe()
        theirs.callback(os.close, self.for_command)
        os.set_blocking(self._ours, False)
        self._loop.add_writer(self._ours, self._write)

    def close(self) -> None:
        """Write no more."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_writer(self._ours)
            os.close(self._ours)

    def _write(self) -> None:
        try:
            self._left = self._left[os.write(self._ours, self._left[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._left = self._left[:0]
        if not self._left:
            self.close()
