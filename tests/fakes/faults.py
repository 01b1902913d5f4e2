"""Calls that fail when a test asks for it, before or after they did their work."""

from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from pipeline.domain.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound="Faulty")


@dataclass(frozen=True)
class Fault:
    """What a call raises; `applied`: after it did its work."""

    error: type[Unavailable]
    applied: bool


class Faulty:
    """A fake server that can be told to fail."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.down = False

    def fail_next(self, method: str, error: type[Unavailable], *, applied: bool) -> None:
        """The next call of `method` raises `error`; asked twice, the next two do."""
        if not hasattr(self, method):
            raise AttributeError(method)
        self._faults[method].append(Fault(error, applied))

    def go_down(self) -> None:
        """Every call is `Unavailable` until `come_back`; nothing is lost."""
        self.down = True

    def come_back(self) -> None:
        """Answer again."""
        self.down = False

    def _next_fault(self, method: str) -> Fault | None:
        if self.down:
            return Fault(Unavailable, applied=False)
        faults = self._faults[method]
        return faults.pop(0) if faults else None

    def _error(self, fault: Fault) -> Unavailable:
        return fault.error(self._server, f"as the test asked (applied: {fault.applied})")


def may_fail(
    method: Callable[Concatenate[F, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[F, P], Coroutine[Any, Any, R]]:
    """Let a method of a `Faulty` fail when it is told to."""

    @wraps(method)
    async def call(self: F, /, *args: P.args, **kwargs: P.kwargs) -> R:
        fault = self._next_fault(method.__name__)
        if fault and not fault.applied:
            raise self._error(fault)
        result = await method(self, *args, **kwargs)
        if fault:
            raise self._error(fault)
        return result

    return call
