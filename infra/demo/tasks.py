"""The Python functions of the demo; its worker imports this module."""

from typing import Any

from workers import Context, task


@task("demo.greet")
async def greet(payload: Any, context: Context) -> str:
    """Succeeds at once."""
    return f"Hello, {payload}"


@task("demo.flaky")
def flaky(payload: Any, context: Context) -> str:
    """Fails twice, then succeeds. `attempt` only grows, so nothing need be remembered."""
    if context.attempt < 3:
        raise ConnectionError(f"attempt {context.attempt} of 3 found nobody at home")
    return "third time lucky"


@task("demo.doomed")
def doomed(payload: Any, context: Context) -> None:
    """Never succeeds."""
    raise ValueError("this can never work")
