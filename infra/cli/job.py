"""`dueq job …`: look at jobs, wait for them, change them, stop them, run them again.

Submitting is in `submit`; which jobs are meant, and doing it to many, in `many`.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import flags, many, submit
from infra.cli.client import Gateway
from infra.cli.many import path as _path
from infra.cli.output import Format, Output, emit_list, emit_one, say, say_json, tell
from infra.cli.waiting import check_outcome, seen
from infra.exits import CommandFailed, Exit

app = typer.Typer(help="Submit jobs and follow them.", no_args_is_help=True)
app.command("submit")(submit.submit)

JobId = Annotated[str, typer.Argument(metavar="ID", help="The id of a job.")]
_LIST = ("id", "name", "kind", "status", "queue", "due_at", "attempt")
_ONE = (
    "id", "name", "kind", "status", "reason", "queue", "priority", "tags", "due_at", "attempt",
    "failures", "created_at", "started_at", "finished_at", "worker", "result", "last_error",
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
    if output is Format.TABLE and answer["next_cursor"]:
        tell(f"More: --cursor {answer['next_cursor']}")


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
    job = gateway.get(_path(job_id))
    emit_one(job, output, _ONE)
    if output is Format.TABLE and job.get("attempt"):
        say("")
        attempts = _attempts(gateway, job_id)
        emit_list(attempts, output, _ATTEMPTS, key="attempt")


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
    """What the attempts of a job printed, and what went wrong in them; of one that runs, by now."""
    gateway = Gateway.here()
    job = gateway.get(_path(job_id))
    answer = _attempts(gateway, job_id)
    items = [each for each in answer["items"] if attempt in (None, each["attempt"])]
    if output is not Format.TABLE:
        emit_list(answer | {"items": items}, output, (), key="attempt")
        return
    for execution in items:
        tell(f"-- attempt {execution['attempt']}: {execution['outcome']}")
        for line in _printed(execution):
            say(line)
    if job["status"] == "running" and attempt in (None, job["attempt"]):
        _print_running(gateway, job, answer["items"])


def _print_running(gateway: Gateway, job: dict[str, Any], ended: list[dict[str, Any]]) -> None:
    """Unless it has ended since the job was read."""
    number = job["attempt"]
    if all(each["attempt"] != number for each in ended):
        tell(f"-- attempt {number}: running")
        for line in gateway.text(_path(job["id"], f"/executions/{number}/log")).splitlines():
            say(line)


@app.command()
def executions(job_id: JobId, output: Output = Format.TABLE) -> None:
    """The attempts of a job that have ended, oldest first."""
    answer = _attempts(Gateway.here(), job_id)
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
    patch = flags.over(_patch_in(file) | dict.fromkeys(unset or []), asked)
    if not patch:
        raise CommandFailed(Exit.USAGE, "nothing to change: name an option, --unset or --file")
    headers = {} if if_match is None else {"If-Match": _quoted(if_match)}
    emit_one(Gateway.here().patch(_path(job_id), patch, headers), output, _ONE)


@app.command("run")
def run_(job_id: JobId, output: Output = Format.TABLE) -> None:
    """Make a job that waits due now."""
    emit_one(Gateway.here().post(_path(job_id, "/run")), output, _ONE)


@app.command()
def cancel(  # noqa: PLR0913 - each is a flag
    ids: many.Ids = None, status: many.Status = None, queue: many.Queue = None,
    kind: many.Kind = None, name: many.Name = None, q: many.Start = None, tag: many.Tag = None,
    schedule: many.Schedule = None, created_after: many.After = None,
    created_before: many.Before = None, every: many.All = False, dry_run: many.DryRun = False,
    limit: many.Most = 10_000, yes: many.Yes = False, output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """End jobs, also while they run: by id, or all that the options find."""
    wanted = many.asked(
        status=status, queue=queue, kind=kind, name=name, q=q, tag=tag, schedule_id=schedule,
        created_after=created_after, created_before=created_before,
    )  # fmt: skip
    call = {"all": every, "dry_run": dry_run, "limit": limit}
    many.apply("cancel", ids, wanted, call, sure=yes, output=output, columns=_ONE)


@app.command()
def retry(  # noqa: PLR0913 - each is a flag
    ids: many.Ids = None, status: many.Status = None, queue: many.Queue = None,
    kind: many.Kind = None, name: many.Name = None, q: many.Start = None, tag: many.Tag = None,
    schedule: many.Schedule = None, created_after: many.After = None,
    created_before: many.Before = None, every: many.All = False, dry_run: many.DryRun = False,
    limit: many.Most = 10_000, yes: many.Yes = False, output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """Run dead or cancelled jobs again: by id, or all that the options find."""
    wanted = many.asked(
        status=status, queue=queue, kind=kind, name=name, q=q, tag=tag, schedule_id=schedule,
        created_after=created_after, created_before=created_before,
    )  # fmt: skip
    call = {"all": every, "dry_run": dry_run, "limit": limit}
    many.apply("retry", ids, wanted, call, sure=yes, output=output, columns=_ONE)


@app.command()
def delete(  # noqa: PLR0913 - each is a flag
    ids: many.Ids = None, status: many.Status = None, queue: many.Queue = None,
    kind: many.Kind = None, name: many.Name = None, q: many.Start = None, tag: many.Tag = None,
    schedule: many.Schedule = None, created_after: many.After = None,
    created_before: many.Before = None, every: many.All = False, dry_run: many.DryRun = False,
    limit: many.Most = 10_000, yes: many.Yes = False, output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """Remove jobs that do not run, with their attempts: by id, or all that the options find."""
    wanted = many.asked(
        status=status, queue=queue, kind=kind, name=name, q=q, tag=tag, schedule_id=schedule,
        created_after=created_after, created_before=created_before,
    )  # fmt: skip
    call = {"all": every, "dry_run": dry_run, "limit": limit}
    many.apply("delete", ids, wanted, call, sure=yes, output=output, columns=("id", "status"))


def _attempts(gateway: Gateway, job_id: str) -> dict[str, Any]:
    """All pages as one."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = gateway.get(_path(job_id, "/executions"), {"cursor": cursor})
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return {"items": items, "next_cursor": None}


def _patch_in(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        patch = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    except (OSError, ValueError) as error:
        raise CommandFailed(Exit.USAGE, f"{file}: {error}") from None
    if not isinstance(patch, dict):
        raise CommandFailed(Exit.USAGE, f"{file}: not a JSON object")
    return patch


def _quoted(tag: str) -> str:
    return tag if '"' in tag or tag == "*" else f'"{tag}"'


def _printed(execution: dict[str, Any]) -> Iterator[str]:
    """The captured output first, then the error: in the order in which a person wants them."""
    for stream in ("stdout", "stderr", "log"):
        yield from str(execution.get(stream) or "").splitlines()
    error = execution.get("error")
    if error:
        yield f"{error['type']}: {error['message']}"
        yield from str(error.get("detail") or "").splitlines()
