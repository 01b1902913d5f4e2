"""`dueq job submit`: a job from flags, or jobs from JSON."""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import flags
from infra.cli.client import Gateway
from infra.cli.output import Format, Output, emit_list, emit_one, tell
from infra.cli.waiting import FINAL, check_outcome, seen
from infra.exits import CommandFailed, Exit

_LONGEST_PREFER = 60
_BATCH = 5_000


def submit(  # noqa: PLR0913 - each is a flag
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- WORD...] [-]", help="A command; or - for JSON on stdin."),
    ] = None,
    name: Annotated[str | None, typer.Option()] = None,
    queue: Annotated[str | None, typer.Option()] = None,
    priority: flags.Priority = None,
    at: Annotated[str | None, typer.Option(help="2026-12-01T06:00:00Z")] = None,
    delay: Annotated[
        str | None, typer.Option("--in", "--delay", help="30, 90s, 5m, 2h, 1d")
    ] = None,
    task: flags.Task = None, payload: flags.Payload = None, command: flags.Command = None,
    http: flags.Http = None, method: flags.Method = None, body: flags.Body = None,
    tag: flags.Tags = None, timeout: flags.Timeout = None, max_attempts: flags.Attempts = None,
    backoff: flags.Backoff = None, on_lost: flags.OnLost = None, expires_at: flags.Expires = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="JSON or JSON lines; - is stdin.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key: the same job.")] = None,
    wait: Annotated[
        float | None, typer.Option(metavar="[SECONDS]", help="Until the job has ended.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """Submit a job. Flags win over what the file says.

    Exit code 6 if a job that was waited for did not succeed, 7 if it took too long.
    """
    asked = flags.given(
        name=name, queue=queue, priority=priority, run_at=at, delay=flags.seconds(delay),
        expires_at=expires_at,
    )  # fmt: skip
    asked |= flags.work(
        flags.call(http, method, body), flags.words_of(words) or command, task, payload
    )
    asked |= flags.terms(tag, timeout, max_attempts, backoff, on_lost)
    source = "-" if words == ["-"] else file
    if source is None and not asked:
        raise CommandFailed(Exit.USAGE, "say what to do: --http, --command, --task, -f FILE, …")
    jobs = [flags.over(job, asked) for job in _jobs(source)] if source is not None else [asked]
    if len(jobs) == 1:
        _submit_one(jobs[0], idempotency_key, wait, output)
    elif idempotency_key is not None or wait is not None:
        raise CommandFailed(Exit.USAGE, "--wait and --idempotency-key are for a single job")
    else:
        _submit_many(jobs, output)


def _jobs(source: str) -> list[dict[str, Any]]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
        jobs = _parsed(text)
    except (OSError, ValueError) as error:
        raise CommandFailed(Exit.USAGE, f"{source}: {error}") from None
    if not jobs or not all(isinstance(job, dict) for job in jobs):
        raise CommandFailed(Exit.USAGE, f"{source}: neither a job nor a list of jobs")
    return jobs


def _parsed(text: str) -> list[Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [json.loads(line) for line in lines]
    return parsed if isinstance(parsed, list) else [parsed]


def _submit_one(job: dict[str, Any], key: str | None, wait: float | None, output: Format) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    prefer = 0 if wait is None else math.ceil(min(wait, _LONGEST_PREFER))
    if prefer:
        headers["Prefer"] = f"wait={prefer}"
    gateway = Gateway.here()
    with _spinner("Waiting for the job to end" if prefer else "Submitting"):
        answer = gateway.post("/api/jobs", job, headers, patience=prefer)
        if wait is not None and answer["status"] not in FINAL:
            *_, answer = seen(gateway, answer["id"], wait - prefer)
    emit_one(answer, output, ("id", "status", "due_at", "attempt", "result"))
    if wait is not None:
        check_outcome(answer)


def _submit_many(jobs: list[dict[str, Any]], output: Format) -> None:
    """In parts, so that each is well within a request; indices are those of the whole."""
    from rich.console import Console
    from rich.progress import track

    ids: list[str] = []
    rejected: list[dict[str, Any]] = []
    starts = range(0, len(jobs), _BATCH)
    for start in track(starts, "Submitting", console=Console(stderr=True), transient=True):
        part = Gateway.here().post("/api/jobs/batch", jobs[start : start + _BATCH], patience=60)
        ids += part["ids"]
        rejected += [{**each, "index": each["index"] + start} for each in part["rejected"]]
    if output is Format.JSON:
        emit_one({"accepted": len(ids), "ids": ids, "rejected": rejected}, output, ())
    else:
        emit_list({"items": [{"id": each} for each in ids]}, output, ("id",))
    if rejected:
        tell(f"{len(ids)} accepted, {len(rejected)} rejected:")
        for each in rejected:
            flaws = "; ".join(f"{f['pointer'] or '/'}: {f['detail']}" for f in each["errors"])
            tell(f"  job {each['index']}: {flaws}")
        raise CommandFailed(Exit.FAILED, "not all jobs were accepted")


@contextmanager
def _spinner(text: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
