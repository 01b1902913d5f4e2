"""The demo on the screen: a live table on a terminal, a line for each change anywhere else."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra.cli.output import say
from infra.demo.cases import Case, Ended, at

_COLOURS = {"succeeded": "green", "dead": "red", "running": "yellow", "queued": "cyan"}
_INVISIBLE = "accepted"


class Progress:
    """Is told the jobs as they are, again and again."""

    def __init__(self, cases: Mapping[str, Case]) -> None:
        self._cases = cases
        self._began = time.monotonic()
        self._known: dict[str, tuple[str, int]] = {}

    def show(self, jobs: Mapping[str, Mapping[str, Any]]) -> None:
        """`jobs` by id; one that is not there yet is still on its way to MongoDB."""
        for job_id, case in self._cases.items():
            job = jobs.get(job_id, {})
            state = (str(job.get("status", _INVISIBLE)), int(job.get("attempt", 0)))
            if self._known.get(job_id) != state:
                self._known[job_id] = state
                self._changed(case, *state)

    def _changed(self, case: Case, status: str, attempt: int) -> None:
        seconds = time.monotonic() - self._began
        tries = f"  attempt {attempt}" if attempt else ""
        say(f"  {seconds:6.2f} s  {case.name:<12} {status}{tries}")


class LiveProgress(Progress):
    """The same as a table that changes in place."""

    def __init__(self, cases: Mapping[str, Case], live: Live) -> None:
        super().__init__(cases)
        self._live = live

    def _changed(self, case: Case, status: str, attempt: int) -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("JOB", "STATUS", "ATTEMPT"):
            table.add_column(name)
        for job_id, each in self._cases.items():
            state, number = self._known.get(job_id, (_INVISIBLE, 0))
            row = (each.name, Text(state, style=_COLOURS.get(state, "")), str(number or ""))
            table.add_row(*row)
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
        mark = "ok" if not differences else "NOT AS IT SHOULD BE"
        say(f"\n  {each.case.name}: {each.job['status']} ({mark})  {each.job['id']}")
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
