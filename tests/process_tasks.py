"""Tasks that run in a process of their own: they have to stand in a module."""

import asyncio
import functools
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from workers.tasks import Context, Fail, Registry, Retry

PROCESS_TASKS = Registry()


class Sum(BaseModel):
    """What `add` takes."""

    numbers: list[int]


@PROCESS_TASKS.task("add", process=True)
def add(payload: Sum, context: Context) -> dict[str, Any]:
    """The sum, and who reckoned it."""
    return {"sum": sum(payload.numbers), "pid": os.getpid(), "attempt": context.attempt}


@PROCESS_TASKS.task("add_later", process=True)
async def add_later(payload: Sum, context: Context) -> int:
    """The sum, by a coroutine."""
    await asyncio.sleep(0)
    return sum(payload.numbers)


@PROCESS_TASKS.task("fire_of", process=True)
def fire_of(payload: None, context: Context) -> dict[str, Any]:
    """Which fire of which schedule it runs for."""
    at = context.fire_time
    return {"fire_time": at and at.isoformat(), "of": context.schedule_id}


@PROCESS_TASKS.task("raise", process=True)
def raise_it(payload: str, context: Context) -> None:
    """What is asked for."""
    raise {"retry": Retry("soon", delay=7), "fail": Fail("never"), "exit": SystemExit(3)}.get(
        payload, ValueError(payload)
    )


@PROCESS_TASKS.task("die", process=True)
def die(payload: int, context: Context) -> None:
    """By a signal, as of a broken extension."""
    os.kill(os.getpid(), payload)


@PROCESS_TASKS.task("quit", process=True)
def leave(payload: int, context: Context) -> None:
    """Without a word."""
    os._exit(payload)


@PROCESS_TASKS.task("go_silent", process=True)
def go_silent(payload: Any, context: Context) -> None:
    """As programs do that make daemons of themselves."""
    os.closerange(3, 1000)
    time.sleep(600)


@PROCESS_TASKS.task("spin", process=True)
def spin(payload: str, context: Context) -> None:
    """For ever, with a child, deaf to TERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"])
    written = Path(payload)
    written.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
    written.with_suffix(".new").rename(written)
    while True:
        time.monotonic()


@PROCESS_TASKS.task("tell", process=True)
def tell(payload: Any, context: Context) -> str:
    """Progress, a line, and a job that follows."""
    context.progress(0.5, "half")
    context.log("a line")
    return context.submit_and_wait({"task": "next", "payload": context.job["payload"]})


@PROCESS_TASKS.task("tell_oddly", process=True)
def tell_oddly(payload: Any, context: Context) -> None:
    """What is no text, or none that can be stored, or more than is kept."""
    context.progress(1, "\ud800" + "x" * 5_000_000)
    context.log("x" * 5_000_000)
    context.log(7)  # type: ignore[arg-type]


@PROCESS_TASKS.task("ask_for_much", process=True)
def ask_for_much(payload: Any, context: Context) -> None:
    """For a job that is too large."""
    context.submit_and_wait({"payload": "x" * 5_000_000})


@PROCESS_TASKS.task("die_with_family", process=True)
def die_with_family(payload: str, context: Context) -> None:
    """Killed, when it has forked one child and started another program."""
    child = os.fork()
    if child == 0:
        time.sleep(600)
    os.system(f"sleep 600 & echo $! {child} >{payload}")
    os.kill(os.getpid(), signal.SIGKILL)


@PROCESS_TASKS.task("leave_a_thread", process=True)
def leave_a_thread(payload: str, context: Context) -> int:
    """Which tells and asks for a job when its attempt has ended, and then writes a file."""

    def goes_on() -> None:
        until = time.monotonic() + 0.5
        while not context.cancelled and time.monotonic() < until:
            threading.Event().wait(0.005)
        context.progress(0.1, "too late")
        context.log("too late")
        Path(payload).touch()
        with suppress(RuntimeError):
            context.submit_and_wait({"task": "too late"})
        Path(payload).with_suffix(".refused").touch()

    threading.Thread(target=goes_on, daemon=True).start()
    return os.getpid()


@PROCESS_TASKS.task("ask_badly", process=True)
def ask_badly(payload: Any, context: Context) -> None:
    """For a job that is none."""
    context.submit_and_wait({"queue": "a b"})


@PROCESS_TASKS.task("first_namesake", process=True)
def namesake(payload: Any, context: Context) -> str:
    """Another function of its module has its name."""
    return "first"


@PROCESS_TASKS.task("second_namesake", process=True)  # type: ignore[no-redef]
def namesake(payload: Any, context: Context) -> str:  # noqa: F811
    """Is what its module has by that name."""
    return "second"


def _shouted(function: Any) -> Any:
    @functools.wraps(function)
    def shouting(*words: Any) -> str:
        return str(function(*words)).upper()

    return shouting


@_shouted
@PROCESS_TASKS.task("wrapped", process=True)
def wrapped(payload: str, context: Context) -> str:
    """As it was registered, not as it is called by its name."""
    return payload


@PROCESS_TASKS.task("leave_a_process", process=True)
def leave_a_process(payload: str, context: Context) -> dict[str, int]:
    """By a shell, which has ended by then."""
    shell = f"sleep 600 >/dev/null 2>&1 & echo $! >{payload}"
    subprocess.run(["/bin/sh", "-c", shell], check=True)
    return {"self": os.getpid(), "left": int(Path(payload).read_text())}
