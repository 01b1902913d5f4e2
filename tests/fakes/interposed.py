"""Another actor between two calls: how a test forces one interleaving and no other."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

Port = TypeVar("Port")
Action = Callable[[], Awaitable[object]]


class Died(BaseException):
    """The process is gone: nothing that it would have done next happens."""


async def die() -> None:
    """An action: kill the caller at this very point."""
    raise Died


def interposed(
    port: Port,
    method: str,
    *,
    before: Action | None = None,
    after: Action | None = None,
    call: int = 1,
) -> Port:
    """`port` as one actor sees it: around its `call`-th call of `method` somebody else acts.

    The others go on using `port` itself. An action that raises is what the caller meets.
    """
    if not hasattr(port, method):
        raise AttributeError(method)
    return cast("Port", _Interposed(port, method, before, after, call))


class _Interposed:
    def __init__(
        self, port: Any, method: str, before: Action | None, after: Action | None, call: int
    ) -> None:
        self._port = port
        self._method = method
        self._before = before
        self._after = after
        self._left = call

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        return self._around(value) if name == self._method else value

    def _around(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(method)
        async def called(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            now = self._left == 0
            if now and self._before:
                await self._before()
            result = await method(*args, **kwargs)
            if now and self._after:
                await self._after()
            return result

        return called
