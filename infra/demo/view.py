"""The demo on the screen: a live table on a terminal, a line for each change anywhere else."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra.cli.output import say
from infra.demo.cases import Case, Ended, at

_COLOURS = {"succeeded": "green", "dead": "red", "running": "yellow", "queued": "cyan"}
_INVISIBLE = "accepted"
_WIDEST = len("succeeded")


class _Seen(NamedTuple):
    """What a job was when it was last different, in seconds since the beginning."""

    status: str
    attempt: int
    seconds: float


class Progress:
    """Is told the jobs as they are, again and again."""

    def __init__(self, cases: Mapping[str, Case]) -> None:
        self._cases = cases
        self._began = time.monotonic()
        self._seen = dict.fromkeys(cases, _Seen("", 0, 0.0))

    def show(self, jobs: Mapping[str, Mapping[str, Any]]) -> None:
        """`jobs` by id; one that is not there yet is still on its way to MongoDB."""
        seconds = time.monotonic() - self._began
        changed = []
        for job_id, before in self._seen.items():
            job = jobs.get(job_id, {})
            now = _Seen(job.get("status", _INVISIBLE), job.get("attempt", 0), seconds)
            if now[:2] != before[:2]:
                self._seen[job_id] = now
                changed.append(job_id)
        if changed:
            self._draw(changed)

    def _draw(self, changed: Sequence[str]) -> None:
        for job_id in changed:
            name, seen = self._cases[job_id].name, self._seen[job_id]
            tries = f"  attempt {seen.attempt}" if seen.attempt else ""
            say(f"  {seen.seconds:6.2f} s  {name:<12} {seen.status}{tries}")


class LiveProgress(Progress):
    """The same as a table that changes in place."""

    def __init__(self, cases: Mapping[str, Case], live: Live) -> None:
        super().__init__(cases)
        self._live = live

    def _draw(self, changed: Sequence[str]) -> None:
        table = Table(box=None, pad_edge=False)
        table.add_column("JOB")
        table.add_column("STATUS", min_width=_WIDEST)  # else the columns jump
        table.add_column("ATTEMPT", justify="right")
        table.add_column("SECONDS", justify="right")
        for job_id, seen in self._seen.items():
            status = Text(seen.status, style=_COLOURS.get(seen.status, ""))
            attempt = str(seen.attempt or "")
            table.add_row(self._cases[job_id].name, status, attempt, f"{seen.seconds:.2f}")
        self._live.update(table, refresh=True)


@contextmanager
def progress(cases: Mapping[str, Case]) -> Iterator[Progress]:
    """What fits where stdout goes."""
    if not sys.stdout.isatty():
        yield Progress(cases)
        return
    with Live(console=Console(), auto_refresh=False) as live:
        yield LiveProgress(cases, live)


def show_paths(ended: Sequence[Ended]) -> None:
    """Every step of every job, in milliseconds since it was accepted."""
    say("\nThe path of each, in ms since it was accepted:")
    for each in ended:
        differences = each.differences()
        verdict = "NOT AS IT SHOULD BE" if differences else "as it should be"
        say(f"\n  {each.case.name}: {each.job['status']}, {verdict}  {each.job['id']}")
        for text, moment in _steps(each):
            say(f"    {moment:>8.0f}  {text}")
        for difference in differences:
            say(f"    {difference}")


def _steps(ended: Ended) -> Iterator[tuple[str, float]]:
    accepted = at(ended.job["created_at"])
    yield "accepted", 0.0
    for execution in ended.executions:
        number, error = execution["attempt"], execution.get("error")
        why = f": {error['type']}: {error['message']}" if error else ""
        for step in ("queued", "started", "finished"):
            if execution.get(f"{step}_at"):
                offset = (at(execution[f"{step}_at"]) - accepted).total_seconds() * 1000
                what = f"{execution['outcome']}{why}" if step == "finished" else step
                yield f"attempt {number} {what}", offset
