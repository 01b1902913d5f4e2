"""Which jobs are meant, as flags; and the same thing done to all of them, asked for twice."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from infra.cli.client import Gateway, path
from infra.cli.output import Format, Output, check_person, confirm, emit_list, emit_one, tell
from infra.exits import CommandFailed, Exit

_PATIENCE = 60
_TALLY = ("matched", "changed", "unchanged", "complete")

Text = str | None
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Jobs by their ids.")]
Status = Annotated[list[str] | None, typer.Option(help="May repeat.")]
Queue = Annotated[Text, typer.Option()]
Kind = Annotated[Text, typer.Option(help="http, amqp, command or task.")]
Name = Annotated[Text, typer.Option(help="The whole name.")]
Start = Annotated[Text, typer.Option("--q", help="The start of the name.")]
Tag = Annotated[Text, typer.Option()]
Schedule = Annotated[Text, typer.Option(help="The id of the schedule that made them.")]
After = Annotated[Text, typer.Option("--created-after", help="2026-12-01T06:00:00Z")]
Before = Annotated[Text, typer.Option("--created-before", help="2026-12-01T06:00:00Z")]
All = Annotated[bool, typer.Option("--all", help="Without a filter: really every job.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what the filter finds.")]
Most = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=100_000, help="So many jobs, newest first.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed without a terminal.")]


def asked(**flags: Any) -> dict[str, Any]:
    """The filter that the flags make."""
    return {name: value for name, value in flags.items() if value}


def command(verb: str, columns: tuple[str, ...]) -> Callable[..., None]:
    """The command that does `verb` to jobs named by their ids, or to all that the options find."""

    def act(  # noqa: PLR0913 - each is a flag
        ids: Ids = None, status: Status = None, queue: Queue = None, kind: Kind = None,
        name: Name = None, q: Start = None, tag: Tag = None, schedule: Schedule = None,
        created_after: After = None, created_before: Before = None, every: All = False,
        dry_run: DryRun = False, limit: Most = 10_000, yes: Yes = False,
        output: Output = Format.TABLE,
    ) -> None:  # fmt: skip
        wanted = asked(
            status=status, queue=queue, kind=kind, name=name, q=q, tag=tag, schedule_id=schedule,
            created_after=created_after, created_before=created_before,
        )  # fmt: skip
        call = {"all": every, "dry_run": dry_run, "limit": limit}
        apply(verb, ids, wanted, call, sure=yes, output=output, columns=columns)

    return act


def apply(
    verb: str,
    ids: list[str] | None,
    wanted: dict[str, Any],
    call: dict[str, Any],
    *,
    sure: bool,
    output: Format,
    columns: tuple[str, ...],
) -> None:
    """Do `verb` to the jobs named, or to all that the filter finds; never to both."""
    by_filter = bool(wanted or call["all"])
    if bool(ids) == by_filter:
        text = f"name jobs by their ids, or say which to {verb}: --status, --queue, … or --all"
        raise CommandFailed(Exit.USAGE, text)
    if ids:
        _each(verb, ids, call, output, columns)
    else:
        _all(verb, {"filter": wanted, **call}, sure=sure, output=output)


def _each(
    verb: str, ids: list[str], call: dict[str, Any], output: Format, columns: tuple[str, ...]
) -> None:
    """One after the other, whatever becomes of the others, as long as a gateway answers.

    The first failure is the exit code.
    """
    if call["dry_run"]:
        raise CommandFailed(Exit.USAGE, "--dry-run goes with a filter")
    gateway = Gateway.here()
    if len(ids) == 1:
        emit_one(_one(gateway, verb, ids[0]), output, columns)
        return
    done, failures = [], []
    for job_id in ids:
        try:
            done.append(_one(gateway, verb, job_id))
        except CommandFailed as failure:
            failures.append(failure)
            tell(f"{job_id}: {failure}")
            if failure.code is Exit.UNREACHABLE:
                break
    emit_list({"items": done, "next_cursor": None}, output, ("id", "name", "status"))
    if failures:
        raise CommandFailed(
            failures[0].code, f"{verb}: {len(ids) - len(done)} of {len(ids)} not done"
        )


def _one(gateway: Gateway, verb: str, job_id: str) -> dict[str, Any]:
    if verb != "delete":
        done: dict[str, Any] = gateway.post(path("jobs", job_id, f"/{verb}"))
        return done
    gateway.delete(path("jobs", job_id))
    return {"id": job_id, "status": "deleted"}


def _all(verb: str, call: dict[str, Any], *, sure: bool, output: Format) -> None:
    gateway = Gateway.here()
    if not call["dry_run"] and not sure:
        _confirm(verb, gateway, call)
    tally = gateway.post(f"/api/jobs/{verb}", call, patience=_PATIENCE)
    emit_one(tally, output, _TALLY, key="matched")
    if not tally["complete"]:
        tell("These are not all of them: the same command again goes on with the rest.")


def _confirm(verb: str, gateway: Gateway, call: dict[str, Any]) -> None:
    """A person at a terminal sees how many before it is too late; a script has to say --yes."""
    check_person(f"--yes to {verb} them, --dry-run to count them")
    found = gateway.post(f"/api/jobs/{verb}", {**call, "dry_run": True}, patience=_PATIENCE)
    number = f"{found['matched']:,}{'' if found['complete'] else ' or more'}"
    confirm(f"{verb.capitalize()} {number} jobs?", otherwise="nothing was changed")
