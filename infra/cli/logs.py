"""`dueq job logs`: what the attempts of a job printed, or print while one waits for it; of an http
job what it was answered."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from infra.cli.client import Gateway, path
from infra.cli.output import Format, Output, emit_list, harmless, say, tell
from infra.cli.waiting import check_outcome, looks
from infra.exits import CommandFailed, Exit

_REMEMBERED = 100_000
"""Lines: a record has no more of them than that."""


def logs(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a job.")],
    attempt: Annotated[int | None, typer.Option(min=1, help="Only this one.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """What the attempts of a job printed or were answered, and what went wrong; by now, if it runs.

    With --follow, exit code 6 if the job did not succeed.
    """
    gateway = Gateway.here()
    if follow:
        if attempt is not None or output is not Format.TABLE:
            raise CommandFailed(Exit.USAGE, "--follow prints lines: neither --attempt nor -o")
        _follow(gateway, job_id)
    elif output is Format.TABLE:
        printer = _Printer(gateway, job_id, attempt)
        printer.look(gateway.get(path("jobs", job_id)))
        printer.rest()
    else:
        items = [each for each in attempts(gateway, job_id) if attempt in (None, each["attempt"])]
        emit_list({"items": items, "next_cursor": None}, output, (), key="attempt")


def attempts(gateway: Gateway, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """The records of a job, oldest first, from all pages."""
    items: list[dict[str, Any]] = []
    cursor: str | None = str(after)
    while cursor is not None:
        page = gateway.get(path("jobs", job_id, "/executions"), {"cursor": cursor})
        items += page["items"]
        cursor = page["next_cursor"]
    return items


def _follow(gateway: Gateway, job_id: str) -> None:
    printer = _Printer(gateway, job_id)
    job: dict[str, Any] = {}
    for job in looks(gateway, job_id, float("inf")):
        printer.look(job)
    check_outcome(job)


class _Printer:
    """Prints every line once, though it is told as long as its attempt runs and again at the end.

    Of a running attempt the end of what it has written is told, stdout and stderr as they came; of
    one that has ended the record tells each for itself.
    """

    def __init__(self, gateway: Gateway, job_id: str, only: int | None = None) -> None:
        self._gateway = gateway
        self._job_id = job_id
        self._only = only
        self._ended = 0
        self._heading = (0, "")
        self._tail: Sequence[str] = ()
        self._rest = ""
        self._printed: deque[str] = deque(maxlen=_REMEMBERED)

    def look(self, job: dict[str, Any]) -> None:
        """Print what is new. The log is read first: what it tells is that of a running attempt, if
        there is no record of it after that."""
        number, told = job["attempt"], None
        if job["status"] == "running" and self._only in (None, number):
            told = self._gateway.text(path("jobs", self._job_id, f"/executions/{number}/log"))
        for record in attempts(self._gateway, self._job_id, self._ended):
            self._ended = record["attempt"]
            self._end(record)
        if told is not None and number > self._ended:
            self._go_on(number, told)

    def rest(self) -> None:
        """Print the last line of a running attempt, of which there may be more to come."""
        if self._rest:
            say(self._rest)

    def _end(self, record: dict[str, Any]) -> None:
        if self._begin(record["attempt"], record["outcome"]):
            printed = Counter(self._printed)
            for line in lines_of(record):
                if printed[line]:
                    printed[line] -= 1
                else:
                    say(line)

    def _go_on(self, number: int, told: str) -> None:
        if self._begin(number, "running"):
            whole, _, self._rest = told.rpartition("\n")
            lines = whole.splitlines()
            for line in later(self._tail, lines):
                say(line)
                self._printed.append(line)
            self._tail = lines

    def _begin(self, number: int, how: str) -> bool:
        """Whether its lines are asked for."""
        if self._only not in (None, number):
            return False
        if self._heading[0] != number:
            self._tail = ()
            self._printed.clear()
        if self._heading != (number, how):
            self._heading = (number, how)
            tell(f"-- attempt {number}: {how}")
        return True


def later(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """What `now` has after `before`: both are the end of one text, the first line perhaps cut."""
    if list(now[: len(before)]) == list(before):
        return now[len(before) :]
    now = now[1:]
    starts = range(len(before) + 1)
    start = next(n for n in starts if list(before[n:]) == list(now[: len(before) - n]))
    return now[len(before) - start :]


def lines_of(record: dict[str, Any]) -> Iterator[str]:
    """The captured output first, then the error: in the order in which a person wants them.

    What a job printed is its own, with its colours; what others said does nothing to the terminal.
    """
    for stream in ("stdout", "stderr", "log"):
        yield from str(record.get(stream) or "").splitlines()
    yield from _answer_of(record)
    error = record.get("error")
    if error:
        yield harmless(f"{error['type']}: {error['message']}")
        if error.get("detail") != record.get("stderr"):  # of a command it is that
            yield from map(harmless, str(error.get("detail") or "").splitlines())


def _answer_of(record: dict[str, Any]) -> Iterator[str]:
    """The body that an http job was answered."""
    body = record.get("body") or ""
    if isinstance(body, str):
        yield from map(harmless, body.splitlines())
    else:
        yield "(the answer is no text: it is in base64 with -o json)"
