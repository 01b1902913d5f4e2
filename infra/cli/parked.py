"""`dueq parked …`: messages that could not become jobs, and what becomes of them.

These talk to RabbitMQ, not to the gateway. What is looked at is held until the command ends, and
then lies where it lay. A message goes back through the door it came by; a crash in between leaves
it parked as well, and submitted again it is the same job: what has no identity is given one.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.output import Format, Output, check_person, confirm, emit_list, emit_one, say, tell
from infra.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from pipeline.broker.parked_queue import Parked, ParkedQueue

app = typer.Typer(
    help="Messages that could not become jobs: look, mend, submit again, drop.",
    no_args_is_help=True,
)

_LIST = ("id", "code", "pointer", "age", "error", "body")
_ONE = (
    "id", "code", "error", "pointer", "parked_at", "age", "exchange", "routing_key", "message_id",
    "content_type", "headers", "size",
)  # fmt: skip
_MOST = 10_000

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="As in the list; or a message_id.")
]
Code = Annotated[str | None, typer.Option(help="All that were parked with this code.")]
All = Annotated[bool, typer.Option("--all", help="Each one there is now.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=_MOST)] = 100,
    code: Code = None,
    output: Output = Format.TABLE,
) -> None:
    """The oldest of them, with what is wrong."""
    rows, more = _run(lambda queue: _rows(queue, limit, code, output))
    emit_list({"items": rows, "next_cursor": None}, output, _LIST)
    if more > 0:
        tell(f"{more} more: --limit {min(_MOST, limit + more)}")


@app.command()
def show(
    parked_id: Annotated[str, typer.Argument(metavar="ID")], output: Output = Format.TABLE
) -> None:
    """One of them, all of it."""
    from infra.cli.parked_rows import alone, body_of

    async def shown(_: "ParkedQueue", parked: "Parked") -> Mapping[str, Any]:
        return alone(parked, output)

    (row,) = _run(lambda queue: _each(queue, _Wanted([parked_id]), shown))
    emit_one(row, output, _ONE)
    if output is Format.TABLE:
        say("")
        say(body_of(row))


@app.command()
def resubmit(
    ids: Ids = None,
    everything: All = False,
    code: Code = None,
    body: Annotated[
        str | None, typer.Option(metavar="FILE", help="Send this instead; - is stdin. One ID.")
    ] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Mend it in $EDITOR. One ID.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Submit them again, mended or as they are.

    What would not become a job stays where it is, and the exit code is 1.
    """
    wanted = _Wanted(ids or [], everything=everything, code=code)
    if (body or edit) and len(wanted.ids) != 1:
        raise CommandFailed(Exit.USAGE, "--body and --edit mend one message: name its ID")
    change = _edited if edit else _from_file(body) if body else _as_it_is

    _report(_run(lambda queue: _resubmit(queue, wanted, change)), output)


@app.command()
def drop(
    ids: Ids = None,
    everything: All = False,
    code: Code = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Throw them away."""
    wanted = _Wanted(ids or [], everything=everything, code=code)
    if not yes:
        _ask(wanted)

    async def away(queue: "ParkedQueue", parked: "Parked") -> Mapping[str, Any]:
        await queue.take_out(parked)
        return {"id": parked.id, "result": "dropped"}

    _report(_run(lambda queue: _each(queue, wanted, away)), output)


# ---------------------------------------------------------------------------------------- choosing


class _Wanted:
    """Which ones: by name, by code, or all."""

    def __init__(
        self, ids: Sequence[str], *, everything: bool = False, code: str | None = None
    ) -> None:
        if bool(ids) + everything + (code is not None) != 1:
            raise CommandFailed(Exit.USAGE, "name IDs, or --code, or --all")
        self.ids = set(ids)
        self._everything = everything
        self._code = code

    def __contains__(self, parked: "Parked") -> bool:
        if self.ids:
            return bool(self.ids & _names(parked))
        return self._everything or parked.notes.get("code") == self._code

    def __str__(self) -> str:
        if self.ids:
            return ", ".join(sorted(self.ids))
        return "all" if self._everything else f"all with code {self._code}"


def _names(parked: "Parked") -> set[str]:
    return {parked.id, parked.text("message_id") or parked.id}


async def _each(
    queue: "ParkedQueue",
    wanted: _Wanted,
    act: Callable[["ParkedQueue", "Parked"], Awaitable[Mapping[str, Any]]],
) -> list[Mapping[str, Any]]:
    """What came of each that is wanted; an id that is none of those there ends it."""
    rows, missing = [], set(wanted.ids)
    for parked in await queue.messages():
        if parked in wanted and (missing & _names(parked) or not wanted.ids):
            rows.append(await act(queue, parked))
            missing -= _names(parked)
    if missing:
        raise CommandFailed(
            Exit.NOT_FOUND,
            f"none of the {_MOST} oldest parked messages is {', '.join(sorted(missing))}",
        )
    return rows


def _ask(wanted: _Wanted) -> None:
    check_person("--yes drops them")
    confirm(f"Drop {wanted}?", otherwise="nothing was dropped")


# --------------------------------------------------------------------------------------- submitting


def _as_it_is(parked: "Parked") -> bytes:
    return parked.body


def _from_file(name: str) -> Callable[["Parked"], bytes]:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandFailed(Exit.USAGE, f"{name} cannot be read: {error.strerror}") from None
    return lambda _: content


def _edited(parked: "Parked") -> bytes:
    import click

    try:
        text = click.edit(parked.body.decode(), extension=".json")
    except UnicodeDecodeError:
        raise CommandFailed(Exit.FAILED, "it is not text: --body FILE replaces it") from None
    except click.ClickException as error:
        raise CommandFailed(Exit.FAILED, error.message) from None
    if text is None:
        raise CommandFailed(Exit.FAILED, "nothing was changed, and nothing is submitted")
    return text.encode()


async def _resubmit(
    queue: "ParkedQueue", wanted: _Wanted, change: Callable[["Parked"], bytes]
) -> list[Mapping[str, Any]]:
    from infra.cli.parked_judge import open_judge
    from infra.settings import load_settings
    from pipeline.domain.errors import Rejected

    async with open_judge(load_settings()) as judge:

        async def again(queue: "ParkedQueue", parked: "Parked") -> Mapping[str, Any]:
            # In a thread: a loop that stood still while a person edits would miss its heartbeats.
            body = await asyncio.to_thread(change, parked)
            try:
                fit = await judge.judge(parked, body)
            except Rejected as error:
                return {"id": parked.id, "result": "stays", "detail": str(error)}
            await queue.send_again(parked, body, fit.message_id)
            return {"id": parked.id, "result": "submitted", "detail": fit.doubt}

        return await _each(queue, wanted, again)


def _report(rows: list[Mapping[str, Any]], output: Format) -> None:
    emit_list({"items": rows, "next_cursor": None}, output, ("id", "result", "detail"))
    stay = sum(row["result"] == "stays" for row in rows)
    if stay:
        raise CommandFailed(Exit.FAILED, f"{stay} would not become jobs as they are, and stay")


# ------------------------------------------------------------------------------------------ showing


async def _rows(
    queue: "ParkedQueue", limit: int, code: str | None, form: Format
) -> tuple[list[Mapping[str, Any]], int]:
    """The list, and how many are not in it."""
    from infra.cli.parked_rows import in_list

    there = await queue.waiting()
    found = [p for p in await queue.messages() if code in (None, p.notes.get("code"))]
    shown = [in_list(each, form) for each in found[:limit]]
    return shown, (len(found) if code else there) - len(shown)


def _run(act: Callable[["ParkedQueue"], Awaitable[Any]]) -> Any:
    """Do it on the broker that the settings name."""
    from infra.settings import load_settings
    from pipeline.broker.parked_queue import open_parked
    from pipeline.domain.errors import Unavailable

    async def run() -> Any:
        async with open_parked(load_settings().amqp_url) as queue:
            return await act(queue)

    try:
        return asyncio.run(run())
    except Unavailable as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
