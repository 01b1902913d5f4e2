"""Whose cancel it is: drivers and users' code raise `CancelledError` though nobody cancelled us."""

import asyncio


def is_being_cancelled() -> bool:
    """Whether a `CancelledError` just caught was meant for us."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
