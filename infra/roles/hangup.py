"""SIGHUP: the terminal has gone, and with it whoever could stop this process in another way.

It asks to stop as SIGTERM does: a worker whose ssh session breaks drains, and loses no job. It may
come twice, from the shell and from the kernel, so it never means more than the first signal.
"""

import asyncio
import signal
from collections.abc import Callable


def on_hangup(stop: Callable[[], object], is_stopping: Callable[[], bool]) -> None:
    """Call `stop` at a SIGHUP unless it stops already. Not under `nohup`, which has it ignored."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    loop = asyncio.get_running_loop()

    def hung_up() -> None:
        loop.add_signal_handler(signal.SIGHUP, _once_is_enough)
        if not is_stopping():
            stop()

    loop.add_signal_handler(signal.SIGHUP, hung_up)


def _once_is_enough() -> None:
    """Without any handler it would end us."""
