"""Waiting until all is recorded, and then looking at every single job.

The wait costs the system little: counts are asked for seldom at first and more often as the end
comes near. The look comes after the clock has stopped. A job's page shows the result of its last
execution: the right result there proves the final state, the record, and that both belong together.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.cli.client import Gateway
from infra.cli.waiting import FINAL
from infra.exits import CommandFailed, Exit

_PAGE = 500
_SHORTEST, _LONGEST = 0.01, 10.0
_STUCK_SECONDS = 60.0


@dataclass(frozen=True)
class Counts:
    """Jobs by whether they have ended."""

    ended: int
    open: int


class Records:
    """The jobs of a system, seen over HTTP."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def counts(self) -> Counts:
        """All jobs there are, also those of others."""
        by_state: Mapping[str, int] = self._gateway.get("/api/stats")["jobs"]
        ended = sum(count for state, count in by_state.items() if state in FINAL)
        return Counts(ended, sum(by_state.values()) - ended)

    def wait_for(self, before: Counts, jobs: int) -> None:
        """Return when so many more have ended and none is open; fail when nothing moves."""
        began = moved_at = time.monotonic()
        most = 0
        while True:
            counts = self.counts()
            done = counts.ended - before.ended
            now = time.monotonic()
            if done >= jobs and counts.open == 0:
                return
            if done > most:
                most, moved_at = done, now
            if now - moved_at > _STUCK_SECONDS:
                text = f"{done} of {jobs} jobs ended, and then nothing for {_STUCK_SECONDS:.0f} s"
                raise CommandFailed(Exit.FAILED, text)
            time.sleep(pause(done, jobs, now - began))

    def check(self, name: str, expected: Mapping[str, object]) -> None:
        """Every job of this name succeeded with the result expected of its id, and none is left."""
        self._compare(name, expected, [(id_, job["result"]) for id_, job in self._succeeded(name)])

    def results(self, name: str, ids: Mapping[str, object]) -> dict[str, dict[str, Any]]:
        """The jobs of this name, which all succeeded, by id; exactly those of `ids`."""
        jobs = dict(self._succeeded(name))
        self._compare(name, dict.fromkeys(ids), [(id_, None) for id_ in jobs])
        return jobs

    def _succeeded(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for job in self._all(name):
            if job["status"] != "succeeded":
                text = f"job {job['id']} of {name} is {job['status']}: {job['last_error']}"
                raise CommandFailed(Exit.FAILED, text)
            yield job["id"], job

    def _all(self, name: str) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            query = {"name": name, "limit": _PAGE, "cursor": cursor}
            page = self._gateway.get("/api/jobs", query)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _compare(
        self, name: str, expected: Mapping[str, object], found: list[tuple[str, object]]
    ) -> None:
        missing = expected.keys() - dict(found).keys()
        wrong = [id_ for id_, result in found if expected.get(id_, _NOTHING) != result]
        if missing or wrong or len(found) != len(expected):
            text = (
                f"{name}: of {len(expected)} accepted jobs {len(missing)} are not recorded, "
                f"{len(wrong)} have a wrong record, {len(found)} were found: "
                f"{[*sorted(missing)[:3], *wrong[:3]]}"
            )
            raise CommandFailed(Exit.FAILED, text)


_NOTHING = object()


def pause(done: int, jobs: int, passed: float) -> float:
    """Half of the time that is left at the speed so far: a handful of looks, the last one soon."""
    if done <= 0:
        return _SHORTEST * 10
    left = passed / done * (jobs - done)
    return min(max(left / 2, _SHORTEST), _LONGEST)
