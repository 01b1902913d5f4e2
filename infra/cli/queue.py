"""`dueq queue …`: what waits where, and holding it."""

import re
from typing import Annotated, Any

import typer

from infra.cli.client import Gateway, path
from infra.cli.output import Format, Output, emit_list, emit_one, tell
from infra.exits import CommandFailed, Exit

app = typer.Typer(help="Look at queues; pause, resume and limit them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The name of a queue.")]
_COLUMNS = ("name", "delayed", "ready", "leased", "paused", "oldest_wait")
_ONE = (*_COLUMNS, "workers", "limits", "waiting_keys", "sick_targets")
_RATE = re.compile(r"(\d+)/(\d+(?:\.\d+)?)?([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command("list")
def list_(output: Output = Format.TABLE) -> None:
    """All queues, with what is delayed, ready and leased in each."""
    emit_list(Gateway.here().get("/api/queues"), output, _COLUMNS, key="name")


@app.command()
def show(queue: Name, output: Output = Format.TABLE) -> None:
    """One queue."""
    emit_one(Gateway.here().get(path("queues", queue)), output, _ONE, key="name")


@app.command()
def peek(
    queue: Name,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many.")] = 10,
    output: Output = Format.TABLE,
) -> None:
    """The next jobs, in the order in which they will be leased."""
    answer = Gateway.here().get(path("queues", queue, "/peek"), {"n": number})
    emit_list(answer, output, ("id", "priority", "due_at", "ready", "waits_for"))


@app.command()
def pause(queue: Name, output: Output = Format.TABLE) -> None:
    """Start nothing more from this queue; what runs, runs on."""
    gateway = Gateway.here()
    known = _known(queue, gateway)
    answer = gateway.post(path("queues", queue, "/pause"))
    _doubt(queue, known, "paused")
    emit_one(answer, output, _COLUMNS, key="name")


@app.command()
def resume(queue: Name, output: Output = Format.TABLE) -> None:
    """Start jobs of this queue again."""
    answer = Gateway.here().post(path("queues", queue, "/resume"))
    emit_one(answer, output, _COLUMNS, key="name")


@app.command()
def limit(
    queue: Name,
    concurrency: Annotated[
        str | None, typer.Option(metavar="N", help="So many run at a time; `none`: any number.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/PERIOD", help="10/s, 100/m, 5/10s start at most; `none`: any."),
    ] = None,
    burst: Annotated[
        int | None, typer.Option(min=1, help="So many at once; unless given, N of the rate.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Change what the queue is limited to, at once; what is not named stays."""
    gateway, change = Gateway.here(), dict[str, Any]()
    if concurrency is not None:
        change["concurrency"] = _count_of(concurrency)
    if rate is not None:
        change["rate"] = rate_of(rate, burst)
    if not change and burst is None:
        raise CommandFailed(Exit.USAGE, "name --concurrency or --rate")
    known = _known(queue, gateway)
    if rate is None and burst is not None:
        if known is None or known["limits"]["rate"] is None:
            raise CommandFailed(
                Exit.USAGE, f"--burst goes with a rate, and {queue} has none: name --rate"
            )
        change["rate"] = {"burst": burst}
    answer = gateway.patch(path("queues", queue), change)
    _doubt(queue, known, "limited")
    emit_one(answer, output, _ONE, key="name")


def _known(queue: str, gateway: Gateway) -> dict[str, Any] | None:
    """What is known of it, if anything ever was in it or said of it."""
    try:
        shown: dict[str, Any] = gateway.get(path("queues", queue))
    except CommandFailed as failure:
        if failure.code is Exit.NOT_FOUND:
            return None
        raise
    return shown


def _doubt(queue: str, known: dict[str, Any] | None, now: str) -> None:
    """It may be misspelt, and the one that was meant goes on."""
    if known is None:
        tell(f"No job has been in queue {queue} yet: is that its name? It is {now} all the same.")


def _count_of(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise CommandFailed(Exit.USAGE, f"--concurrency {text}: a number from 1, or none")
    return int(text)


def rate_of(text: str, burst: int | None) -> dict[str, Any] | None:
    """`10/s`, `5/10s`; a rate replaces the one before as a whole."""
    if text == "none":
        if burst is not None:
            raise CommandFailed(Exit.USAGE, "--burst goes with a rate, and --rate none is none")
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise CommandFailed(Exit.USAGE, f"--rate {text}: such as 10/s, 100/m, 5/10s, or none")
    count, periods, unit = found.groups()
    return {"count": int(count), "per": float(periods or 1) * _SECONDS[unit], "burst": burst}
