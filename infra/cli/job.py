"""`dueq job …`: look at jobs, wait for them, change them, stop them, run them again.

Submitting is in `submit`, what they print in `logs`; which jobs are meant, and doing it to many, in
`many`.
"""

import time
from typing import Annotated, Any

import typer

from infra.cli import flags, logs, many, submit
from infra.cli.client import Gateway, path
from infra.cli.logs import attempts
from infra.cli.output import Format, Output, emit_list, emit_one, say, say_json, tell_more
from infra.cli.waiting import check_outcome, seen
from infra.exits import CommandFailed, Exit

app = typer.Typer(help="Submit jobs and follow them.", no_args_is_help=True)
app.command("submit")(submit.submit)
app.command("logs")(logs.logs)

JobId = Annotated[str, typer.Argument(metavar="ID", help="The id of a job.")]
_LIST = ("id", "name", "kind", "status", "queue", "due_at", "attempt")
_ONE = (
    "id", "name", "kind", "status", "reason", "queue", "limits", "priority", "tags", "due_at",
    "attempt", "failures", "created_at", "started_at", "finished_at", "worker", "progress",
    "result", "last_error",
)  # fmt: skip
_ATTEMPTS = ("attempt", "outcome", "started_at", "finished_at", "worker")


@app.command("list")
def list_(  # noqa: PLR0913 - each is a flag
    status: many.Status = None, queue: many.Queue = None, kind: many.Kind = None,
    name: many.Name = None, q: many.Start = None, tag: many.Tag = None,
    schedule: many.Schedule = None, created_after: many.After = None,
    created_before: many.Before = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500)] = 20,
    cursor: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """The newest jobs."""
    wanted = many.asked(
        status=status, queue=queue, kind=kind, name=name, q=q, tag=tag, schedule_id=schedule,
        created_after=created_after, created_before=created_before,
    )  # fmt: skip
    answer = _listed(wanted, limit, cursor)
    emit_list(answer, output, _LIST)
    tell_more(answer, output)


def _listed(wanted: dict[str, Any], limit: int, cursor: str | None) -> dict[str, Any]:
    """Up to `limit` jobs: the gateway may end a page early, and knows where it goes on."""
    gateway = Gateway.here()
    items: list[dict[str, Any]] = []
    while True:
        asked = wanted | {"limit": limit - len(items), "cursor": cursor}
        page = gateway.get("/api/jobs", asked)
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None or len(items) >= limit:
            return {"items": items, "next_cursor": cursor}


@app.command()
def show(job_id: JobId, output: Output = Format.TABLE) -> None:
    """One job, and how each of its attempts went."""
    gateway = Gateway.here()
    job = gateway.get(path("jobs", job_id))
    emit_one(job, output, _ONE)
    if output is Format.TABLE and job.get("attempt"):
        say("")
        _emit_attempts(gateway, job_id, output)


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
def executions(job_id: JobId, output: Output = Format.TABLE) -> None:
    """The attempts of a job that have ended, oldest first."""
    _emit_attempts(Gateway.here(), job_id, output)


def _emit_attempts(gateway: Gateway, job_id: str, output: Format) -> None:
    answer = {"items": attempts(gateway, job_id), "next_cursor": None}
    emit_list(answer, output, _ATTEMPTS, key="attempt")


@app.command()
def update(  # noqa: PLR0913 - each is a flag
    job_id: JobId,
    name: Annotated[str | None, typer.Option()] = None,
    queue: Annotated[str | None, typer.Option()] = None,
    priority: flags.Priority = None,
    at: Annotated[str | None, typer.Option(help="2026-12-01T06:00:00Z")] = None,
    delay: Annotated[str | None, typer.Option("--in", "--delay", help="From now: 30, 5m")] = None,
    task: flags.Task = None, payload: flags.Payload = None, command: flags.Command = None,
    http: flags.Http = None, method: flags.Method = None, body: flags.Body = None,
    tag: Annotated[list[str] | None, typer.Option(help="Instead of the old ones.")] = None,
    timeout: flags.Timeout = None, max_attempts: flags.Attempts = None,
    backoff: flags.Backoff = None, on_lost: flags.OnLost = None, expires_at: flags.Expires = None,
    unset: Annotated[list[str] | None, typer.Option(help="Back to the default: tags")] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="A JSON Merge Patch; - is stdin.")
    ] = None,
    if_match: Annotated[str | None, typer.Option(help="Only if it still has this ETag.")] = None,
    output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """Change a job that waits: what is named, and nothing else.

    Exit code 4 once it runs or has ended, or if it is not what --if-match names.
    """
    asked = flags.given(
        name=name, queue=queue, priority=priority, run_at=at, delay=flags.seconds(delay),
        expires_at=expires_at,
    )  # fmt: skip
    asked |= flags.of_one_kind(flags.work(flags.call(http, method, body), command, task, payload))
    asked |= flags.terms(tag, timeout, max_attempts, backoff, on_lost)
    patch = flags.over(flags.object_in(file) | dict.fromkeys(unset or []), asked)
    if not patch:
        raise CommandFailed(Exit.USAGE, "nothing to change: name an option, --unset or --file")
    headers = {} if if_match is None else {"If-Match": _quoted(if_match)}
    emit_one(Gateway.here().patch(path("jobs", job_id), patch, headers), output, _ONE)


@app.command("run")
def run_(job_id: JobId, output: Output = Format.TABLE) -> None:
    """Make a job that waits due now."""
    emit_one(Gateway.here().post(path("jobs", job_id, "/run")), output, _ONE)


for verb, columns, text in (
    ("cancel", _ONE, "End jobs, also while they run"),
    ("retry", _ONE, "Run dead or cancelled jobs again"),
    ("delete", ("id", "status"), "Remove jobs that do not run, with their attempts"),
):
    help_ = f"{text}: by id, or all that the options find."
    app.command(verb, help=help_)(many.command(verb, columns))


def _quoted(tag: str) -> str:
    return tag if '"' in tag or tag == "*" else f'"{tag}"'
