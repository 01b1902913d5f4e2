"""Children that do not outlive their worker, with everything in their process group.

Two ways, since each has a gap. The kernel kills a child when the worker dies (`PR_SET_PDEATHSIG`),
but not what the child has started. A process beside the worker (`workers.guard`) kills whole groups
when the worker's end of a pipe closes, unless it was killed before. A child that opens a session of
its own is reached by neither.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLOSE_RANGE_CLOEXEC = 4
_LAST = 2**32 - 1
# Before any fork: a child between fork and exec must not load anything, nor look for it.
_libc = ctypes.CDLL(None)
_prctl = _libc.prctl
_close_range = getattr(_libc, "close_range", None)
_GUARD = str(Path(__file__).with_name("guard.py"))


class Guardian:
    """Guards process groups; the process beside us is started with the first of them."""

    def __init__(self) -> None:
        self._guard: int | None = None
        self._pipe: int | None = None
        self._groups: set[int] = set()

    def before_exec(self, kept: Sequence[int] = ()) -> Callable[[], None]:
        """What a child has to run between fork and exec, in a session of its own.

        The child announces itself: whatever happens to us after the fork, it is guarded. Of our
        descriptors it gets the standard ones and those that are `kept`.
        """
        if not self._is_alive():
            self._start()
        worker, pipe = os.getpid(), self._pipe
        assert pipe is not None

        def announce() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != worker:
                os._exit(1)
            # If the one beside us was killed a moment ago, the kernel still sees to the child.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            with suppress(OSError):
                os.write(pipe, b"+%d\n" % os.getpid())
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            _pass_on_nothing_but(kept)

        return announce

    def started(self, group: int) -> None:
        """It runs; to be told again to a new process beside us, should this one be killed."""
        self._groups.add(group)

    def ended(self, group: int) -> None:
        """Nothing of it is left: its number may soon be another's."""
        self._groups.discard(group)
        self._tell(b"-%d\n" % group)

    def close(self) -> None:
        """Guard no more; what is still guarded is killed."""
        if self._pipe is not None:
            # Not by the end of the pipe alone: what a task has forked may hold it open.
            self._tell(b".\n")
            os.close(self._pipe)
            self._pipe = None
        if self._guard is not None:
            with suppress(ChildProcessError):
                os.waitpid(self._guard, 0)
            self._guard = None

    def _is_alive(self) -> bool:
        if self._guard is None:
            return False
        try:
            return os.waitpid(self._guard, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def _start(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
        reads, self._pipe = os.pipe()
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
        try:
            self._guard = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", _GUARD],
                {},
                file_actions=[(os.POSIX_SPAWN_DUP2, reads, 0), *quiet],
                setsid=True,
            )
        finally:
            os.close(reads)
        for group in self._groups:
            self._tell(b"+%d\n" % group)

    def _tell(self, line: bytes) -> None:
        if self._pipe is not None:
            with suppress(OSError):
                os.write(self._pipe, line)


def _pass_on_nothing_but(kept: Sequence[int]) -> None:
    """Close the others at the exec. uvloop does not, and makes inheritable what it passes on."""
    if _close_range is None or _close_range(3, _LAST, _CLOSE_RANGE_CLOEXEC) != 0:
        for each in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # that of the listing itself
                if int(each.name) > 2:
                    os.set_inheritable(int(each.name), False)
    for descriptor in kept:
        os.set_inheritable(descriptor, True)
