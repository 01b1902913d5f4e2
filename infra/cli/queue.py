"""`dueq queue …`: what waits where, and holding it."""

from typing import Annotated

import typer

from infra.cli.client import Gateway
from infra.cli.output import Format, Output, emit_list, emit_one

app = typer.Typer(help="Look at queues; pause and resume them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The name of a queue.")]
_COLUMNS = ("name", "delayed", "ready", "leased", "paused", "oldest_wait")


@app.command("list")
def list_(output: Output = Format.TABLE) -> None:
    """All queues, with what is delayed, ready and leased in each."""
    emit_list(Gateway.here().get("/api/queues"), output, _COLUMNS, key="name")


@app.command()
def show(queue: Name, output: Output = Format.TABLE) -> None:
    """One queue."""
    emit_one(Gateway.here().get(f"/api/queues/{_path(queue)}"), output, _COLUMNS, key="name")


@app.command()
def peek(
    queue: Name,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many.")] = 10,
    output: Output = Format.TABLE,
) -> None:
    """The next jobs, in the order in which they will be leased."""
    answer = Gateway.here().get(f"/api/queues/{_path(queue)}/peek", {"n": number})
    emit_list(answer, output, ("id", "priority", "due_at", "ready"))


@app.command()
def pause(queue: Name, output: Output = Format.TABLE) -> None:
    """Start nothing more from this queue; what runs, runs on."""
    answer = Gateway.here().post(f"/api/queues/{_path(queue)}/pause")
    emit_one(answer or {"name": queue, "paused": True}, output, _COLUMNS, key="name")


@app.command()
def resume(queue: Name, output: Output = Format.TABLE) -> None:
    """Start jobs of this queue again."""
    answer = Gateway.here().post(f"/api/queues/{_path(queue)}/resume")
    emit_one(answer or {"name": queue, "paused": False}, output, _COLUMNS, key="name")


def _path(queue: str) -> str:
    from urllib.parse import quote

    return quote(queue, safe="")
