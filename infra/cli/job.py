"""`dueq job …`: look at jobs, wait for them, stop them, run them again. Submitting: `submit`."""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from infra.cli import submit
from infra.cli.client import Gateway
from infra.cli.output import Format, Output, emit_list, emit_one, say, say_json, tell
from infra.cli.waiting import check_outcome, seen

app = typer.Typer(help="Submit jobs and follow them.", no_args_is_help=True)
app.command("submit")(submit.submit)

JobId = Annotated[str, typer.Argument(metavar="ID", help="The id of a job.")]
_LIST = ("id", "name", "kind", "status", "queue", "due_at", "attempt")
_ONE = (
    "id", "name", "kind", "status", "reason", "queue", "priority", "tags", "due_at", "attempt",
    "failures", "created_at", "started_at", "finished_at", "worker", "result", "last_error",
)  # fmt: skip


@app.command("list")
def list_(
    status: Annotated[list[str] | None, typer.Option(help="May repeat.")] = None,
    queue: Annotated[str | None, typer.Option()] = None,
    kind: Annotated[str | None, typer.Option(help="http, amqp, command or task.")] = None,
    name: Annotated[str | None, typer.Option()] = None,
    tag: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500)] = 20,
    cursor: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """The newest jobs."""
    asked = {"status": status, "queue": queue, "kind": kind, "name": name, "tag": tag}
    answer = Gateway.here().get("/api/jobs", asked | {"limit": limit, "cursor": cursor})
    emit_list(answer, output, _LIST)
    if output is Format.TABLE and answer.get("next_cursor"):
        tell(f"More: --cursor {answer['next_cursor']}")


@app.command()
def show(job_id: JobId, output: Output = Format.TABLE) -> None:
    """One job, and how each of its attempts went."""
    gateway = Gateway.here()
    job = gateway.get(_path(job_id))
    emit_one(job, output, _ONE)
    if output is Format.TABLE and job.get("attempt"):
        say("")
        attempts = gateway.get(_path(job_id, "/executions"))
        columns = ("attempt", "outcome", "started_at", "finished_at", "worker")
        emit_list(attempts, output, columns, key="attempt")


@app.command()
def watch(
    job_id: JobId,
    timeout: Annotated[float, typer.Option(help="Seconds; then exit code 7.")] = float("inf"),
    output: Output = Format.TABLE,
) -> None:
    """Print every change of a job until it has ended. Exit code 6 if it did not succeed."""
    last: dict[str, Any] = {}
    for last in seen(Gateway.here(), job_id, timeout):
        if output in (Format.JSON, Format.JSONL):
            say_json(last)
        elif output is Format.TABLE:
            say(f"{time.strftime('%H:%M:%S')}  {last['status']}  attempt {last['attempt']}")
    if output is Format.ID:
        say(last["id"])
    check_outcome(last)


@app.command()
def logs(
    job_id: JobId,
    attempt: Annotated[int | None, typer.Option(min=1, help="Only this one.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """What the attempts of a job printed, and what went wrong in them."""
    answer = Gateway.here().get(_path(job_id, "/executions"))
    items = [each for each in answer["items"] if attempt in (None, each["attempt"])]
    if output is not Format.TABLE:
        emit_list(answer | {"items": items}, output, (), key="attempt")
        return
    for execution in items:
        tell(f"-- attempt {execution['attempt']}: {execution['outcome']}")
        for line in _printed(execution):
            say(line)


@app.command()
def cancel(job_id: JobId, output: Output = Format.TABLE) -> None:
    """End a job, also while it runs."""
    emit_one(Gateway.here().post(_path(job_id, "/cancel")), output, _ONE)


@app.command()
def retry(job_id: JobId, output: Output = Format.TABLE) -> None:
    """Run a dead or cancelled job again."""
    emit_one(Gateway.here().post(_path(job_id, "/retry")), output, _ONE)


def _path(job_id: str, rest: str = "") -> str:
    from urllib.parse import quote

    return f"/api/jobs/{quote(job_id, safe='')}{rest}"


def _printed(execution: dict[str, Any]) -> Iterator[str]:
    """The captured output first, then the error: in the order in which a person wants them."""
    for stream in ("stdout", "stderr"):
        yield from str(execution.get(stream) or "").splitlines()
    error = execution.get("error")
    if error:
        yield f"{error['type']}: {error['message']}"
        yield from str(error.get("detail") or "").splitlines()
