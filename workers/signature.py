"""What can be seen of a function before it is called."""

import inspect
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, get_type_hints

Function = Callable[..., Any]


def payload_type(function: Function) -> Any:
    """How the first parameter is annotated; `Any` if it is not."""
    try:
        first = next(iter(inspect.signature(function).parameters.values()))
    except (TypeError, ValueError, StopIteration):
        return Any
    if first.annotation is first.empty:
        return Any
    if not isinstance(first.annotation, str):
        return first.annotation
    # It alone: others may name what is imported for type checkers only, such as `Context`.
    alone = SimpleNamespace(__annotations__={first.name: first.annotation})
    return get_type_hints(alone, _names_for(function), include_extras=True)[first.name]


def _names_for(function: Function) -> dict[str, Any]:
    """Those of the module that its code stands in, also if it is an object that can be called."""
    code = inspect.unwrap(function)
    while isinstance(code, partial):
        code = code.func
    names: dict[str, Any] | None = getattr(code, "__globals__", None)
    return getattr(type(code).__call__, "__globals__", {}) if names is None else names


def takes_two(function: Function) -> bool:
    """As far as can be seen: what is built in does not say."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return callable(function)
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True


def module_of(function: Function) -> str:
    return getattr(function, "__module__", None) or ""


def place_of(function: Function) -> str:
    return f"{module_of(function)}.{getattr(function, '__qualname__', repr(function))}"


def is_importable(function: Function) -> bool:
    where = getattr(function, "__qualname__", "<nowhere>")
    return module_of(function) not in ("", "__main__") and "<" not in where
