"""A run in figures: how much happened, and what it cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.history import History
from tests.chaos.sink import Seen


@dataclass(frozen=True, slots=True)
class Summary:
    """`copies` are side effects that happened again; `longest_wait` is from due to done."""

    accepted: int
    unknown: int
    statuses: Mapping[str, int]
    outcomes: Mapping[str, int]
    starts: int
    copies: int
    longest_wait: float

    def lines(self, kills: Sequence[str]) -> Sequence[str]:
        """For a person."""
        return [
            f"jobs      {self.accepted} accepted, {self.unknown} without an answer",
            f"faults    {', '.join(kills) or 'none'}",
            f"final     {_listed(self.statuses)}",
            f"attempts  {self.starts} starts witnessed; {_listed(self.outcomes)}",
            f"copies    {self.copies} side effects happened more than once",
            f"longest   {self.longest_wait:.1f} s from due to done",
        ]


def summarise(history: History) -> Summary:
    """Of any history, whether it kept the rules or not."""
    ends = Counter(one.job_id for one in history.seen if one.seen is Seen.ENDED)
    told = history.told.values()
    return Summary(
        accepted=len(history.accepted),
        unknown=len(history.asked) - len(history.accepted),
        statuses=Counter(one.status for one in told),
        outcomes=Counter(each.outcome for one in told for each in one.executions),
        starts=sum(one.seen is Seen.STARTED for one in history.seen),
        copies=sum(count - 1 for count in ends.values()),
        longest_wait=_longest_wait(history),
    )


def _longest_wait(history: History) -> float:
    waits = [0.0]
    for one in history.seen:
        asked = history.asked.get(one.job_id)
        if one.seen is Seen.ENDED and asked is not None:
            waits.append(one.at - max(asked.due_at, history.accepted.get(one.job_id, 0.0)))
    return max(waits)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items())) or "none"
