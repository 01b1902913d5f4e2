"""`dueq schedule …`: jobs that recur. What is asked for comes from flags, or from a JSON file."""

from typing import Annotated, Any

import typer

from infra.cli import flags
from infra.cli.client import Gateway, path
from infra.cli.flags import given, seconds
from infra.cli.output import Format, Output, emit_list, emit_one, tell, tell_more
from infra.exits import CommandFailed, Exit

app = typer.Typer(help="Schedules: jobs that recur.", no_args_is_help=True)

_LIST = ("id", "name", "in_words", "timezone", "next_fire_at", "paused")
_ONE = (
    "id", "name", "cron", "every", "in_words", "timezone", "job", "paused", "next_fire_at",
    "last_fire_at", "misfire", "misfire_grace", "overlap", "jitter", "gap", "repeat", "start_at",
    "end_at", "version", "created_at", "updated_at",
)  # fmt: skip
_FIRES = ("fire_time", "until", "status", "skipped", "due_at", "job_id")

Text = str | None
Id = Annotated[str, typer.Argument(metavar="ID", help="The id of a schedule.")]
Cron = Annotated[Text, typer.Option(help="Five fields, or @daily and the like; H spreads.")]
Every = Annotated[Text, typer.Option(help="90s, 5m, 2h, 1d")]
Zone = Annotated[Text, typer.Option(help="An IANA time zone; default UTC.")]
Start = Annotated[Text, typer.Option("--start-at", help="2026-12-01T06:00:00Z")]
End = Annotated[Text, typer.Option("--end-at", help="2026-12-31T06:00:00Z")]
Gap = Annotated[Text, typer.Option(help="A missing hour: skip or shift.")]
Repeat = Annotated[Text, typer.Option(help="A doubled hour: first, second or both.")]
Name = Annotated[Text, typer.Option(help="Of the schedule.")]
Misfire = Annotated[Text, typer.Option(help="Nobody watched: skip, latest or all.")]
Grace = Annotated[Text, typer.Option("--misfire-grace", help="Not made up for after: 1h")]
Overlap = Annotated[Text, typer.Option(help="The last run goes on: allow, skip, queue, replace.")]
Jitter = Annotated[Text, typer.Option(help="Start up to so much later: 30s")]
File = Annotated[Text, typer.Option("--file", "-f", help="A JSON object; - is stdin.")]
Key = Annotated[Text, typer.Option("--idempotency-key", help="The same key: made once.")]
IfVersion = Annotated[int | None, typer.Option(help="Only if it is still at this version.")]


@app.command()
def add(  # noqa: PLR0913 - each is a flag
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[-- WORD...]", help="A command.")
    ] = None,
    name: Name = None, cron: Cron = None, every: Every = None, timezone: Zone = None,
    start: Start = None, end: End = None, gap: Gap = None, repeat: Repeat = None,
    misfire: Misfire = None, grace: Grace = None, overlap: Overlap = None, jitter: Jitter = None,
    paused: Annotated[bool, typer.Option("--paused", help="Fire nothing yet.")] = False,
    queue: flags.Queue = None, priority: flags.Priority = None, http: flags.Http = None,
    method: flags.Method = None, body: flags.Body = None, command: flags.Command = None,
    task: flags.Task = None, payload: flags.Payload = None, tag: flags.Tags = None,
    timeout: flags.Timeout = None, max_attempts: flags.Attempts = None,
    backoff: flags.Backoff = None, on_lost: flags.OnLost = None,
    file: File = None, key: Key = None, output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """Create a schedule. Flags win over what the file says."""
    asked = flags.object_in(file)
    asked |= _timing(cron, every, timezone, start, end, gap, repeat)
    asked |= _policy(name, misfire, grace, overlap, jitter)
    job = given(queue=queue, priority=priority)
    job |= flags.work(
        flags.call(http, method, body), flags.words_of(words) or command, task, payload
    )
    job |= flags.terms(tag, timeout, max_attempts, backoff, on_lost)
    if job:
        asked["job"] = flags.over(asked.get("job") or {}, job)
    if paused:
        asked["paused"] = True
    headers = {} if key is None else {"Idempotency-Key": key}
    emit_one(Gateway.here().post("/api/schedules", asked, headers), output, _ONE)


@app.command()
def edit(  # noqa: PLR0913 - each is a flag
    schedule_id: Id,
    name: Name = None, cron: Cron = None, every: Every = None, timezone: Zone = None,
    start: Start = None, end: End = None, gap: Gap = None, repeat: Repeat = None,
    misfire: Misfire = None, grace: Grace = None, overlap: Overlap = None, jitter: Jitter = None,
    queue: flags.Queue = None, priority: flags.Priority = None, http: flags.Http = None,
    method: flags.Method = None, body: flags.Body = None, command: flags.Command = None,
    task: flags.Task = None, payload: flags.Payload = None, tag: flags.Tags = None,
    timeout: flags.Timeout = None, max_attempts: flags.Attempts = None,
    backoff: flags.Backoff = None, on_lost: flags.OnLost = None,
    unset: Annotated[list[str] | None, typer.Option(help="Back to the default: end_at")] = None,
    file: Annotated[
        Text, typer.Option("--file", "-f", help="A JSON Merge Patch; - is stdin.")
    ] = None,
    if_version: IfVersion = None, output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """Change what is named and leave the rest. Exit code 4 if it is at another version."""
    change = flags.object_in(file)
    change |= _instead(_timing(cron, every, timezone, start, end, gap, repeat))
    change |= _policy(name, misfire, grace, overlap, jitter)
    job = given(queue=queue, priority=priority)
    job |= flags.of_one_kind(flags.work(flags.call(http, method, body), command, task, payload))
    job |= flags.terms(tag, timeout, max_attempts, backoff, on_lost)
    if job:
        change["job"] = flags.over(change.get("job") or {}, job)
    change |= dict.fromkeys(unset or [])
    if not change:
        raise CommandFailed(Exit.USAGE, "nothing to change: name an option, --unset or --file")
    answer = Gateway.here().patch(path("schedules", schedule_id), change, _if_match(if_version))
    emit_one(answer, output, _ONE)


@app.command("list")
def list_(
    q: Annotated[Text, typer.Option("--q", help="The start of the name.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500)] = 20,
    cursor: Annotated[Text, typer.Option(help="`next_cursor` of the page before.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """The newest schedules."""
    answer = Gateway.here().get("/api/schedules", {"q": q, "limit": limit, "cursor": cursor})
    emit_list(answer, output, _LIST)
    tell_more(answer, output)


@app.command()
def show(schedule_id: Id, output: Output = Format.TABLE) -> None:
    """One schedule."""
    emit_one(Gateway.here().get(path("schedules", schedule_id)), output, _ONE)


@app.command()
def preview(  # noqa: PLR0913 - each is a flag
    schedule_id: Annotated[Text, typer.Argument(metavar="[ID]", help="One that is stored.")] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=1000)] = 10,
    cron: Cron = None, every: Every = None, timezone: Zone = None, start: Start = None,
    end: End = None, gap: Gap = None, repeat: Repeat = None, file: File = None,
    output: Output = Format.TABLE,
) -> None:  # fmt: skip
    """The next fires, with every change of the clock; of a stored schedule, or one in flags."""
    asked = flags.object_in(file) | _timing(cron, every, timezone, start, end, gap, repeat)
    gateway = Gateway.here()
    if schedule_id is None:
        answer = gateway.post(f"/api/schedules/preview?n={number}", asked)
    elif asked:
        raise CommandFailed(Exit.USAGE, "name a stored schedule or describe one, not both")
    else:
        answer = gateway.get(path("schedules", schedule_id, "/preview"), {"n": number})
    if output is Format.TABLE:
        tell(f"{answer['in_words']} ({answer['timezone']})")
    emit_list(answer, output, ("at", "local", "note"), key="at")


@app.command()
def fires(
    schedule_id: Id,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500)] = 20,
    cursor: Annotated[Text, typer.Option(help="`next_cursor` of the page before.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """What became of the latest fire times: a job, or why not. `-o id` prints the jobs."""
    asked = {"limit": limit, "cursor": cursor}
    answer = Gateway.here().get(path("schedules", schedule_id, "/fires"), asked)
    if output is Format.ID:
        answer["items"] = [fire for fire in answer["items"] if "job_id" in fire]
    emit_list(answer, output, _FIRES, key="job_id")
    tell_more(answer, output)


@app.command()
def pause(schedule_id: Id, output: Output = Format.TABLE) -> None:
    """Fire no more until `resume`; jobs that are there already run."""
    emit_one(Gateway.here().post(path("schedules", schedule_id, "/pause")), output, _ONE)


@app.command()
def resume(schedule_id: Id, output: Output = Format.TABLE) -> None:
    """Fire again from now on; the fires of the pause are passed over."""
    emit_one(Gateway.here().post(path("schedules", schedule_id, "/resume")), output, _ONE)


@app.command()
def trigger(schedule_id: Id, key: Key = None, output: Output = Format.TABLE) -> None:
    """A job of this schedule now, also while it is paused. `-o id` prints the job."""
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = Gateway.here().post(path("schedules", schedule_id, "/trigger"), None, headers)
    emit_one(answer, output, ("id", "status", "kind", "queue", "due_at"))


@app.command()
def remove(schedule_id: Id, if_version: IfVersion = None, output: Output = Format.TABLE) -> None:
    """Delete a schedule; its jobs stay."""
    Gateway.here().delete(path("schedules", schedule_id), _if_match(if_version))
    emit_one({"id": schedule_id, "removed": True}, output, ("id", "removed"))


@app.command()
def forecast(output: Output = Format.TABLE) -> None:
    """Jobs per minute over the next 24 hours; the table shows the busiest minutes."""
    answer = Gateway.here().post("/api/schedules/forecast", patience=60)
    if output is Format.JSON:
        emit_one(answer, output, ())
        return
    shown = "busiest" if output is Format.TABLE else "minutes"
    emit_list({"items": answer[shown]}, output, ("at", "jobs"), key="at")
    if output is Format.TABLE:
        tell(f"{answer['total']} jobs from {answer['schedules']} schedules until {answer['to']}")


# -- what is asked for


def _timing(
    cron: Text, every: Text, timezone: Text, start: Text, end: Text, gap: Text, repeat: Text
) -> dict[str, Any]:
    return given(
        cron=cron, every=seconds(every, "--every"), timezone=timezone, start_at=start, end_at=end,
        gap=gap, repeat=repeat,
    )  # fmt: skip


def _policy(name: Text, misfire: Text, grace: Text, overlap: Text, jitter: Text) -> dict[str, Any]:
    return given(
        name=name,
        misfire=misfire,
        misfire_grace=seconds(grace, "--misfire-grace"),
        overlap=overlap,
        jitter=seconds(jitter, "--jitter"),
    )


def _instead(timing: dict[str, Any]) -> dict[str, Any]:
    """`--cron` on a schedule that had `every` takes its place, and the other way round."""
    if "cron" in timing and "every" not in timing:
        return {**timing, "every": None}
    if "every" in timing and "cron" not in timing:
        return {**timing, "cron": None, "gap": None, "repeat": None} | timing
    return timing


# -- the rest


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
