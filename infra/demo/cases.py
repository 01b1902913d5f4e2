"""What the demo submits, and how each job should end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

EXCHANGE, ROUTING_KEY = "demo", "demo.arrived"
_QUICKLY = {"backoff": "fixed", "base": 0.4, "jitter": "none"}


@dataclass(frozen=True)
class Case:
    """A job, the outcomes its attempts should have, and what else should be true of it."""

    name: str
    spec: dict[str, Any]
    outcomes: tuple[str, ...] = ("succeeded",)
    status: str = "succeeded"
    result: Any = None
    """What the result should be; None: not looked at."""
    arrives: bool = False
    """Something outside of DueQ should have received it, once."""

    @property
    def body(self) -> dict[str, Any]:
        """What is posted."""
        return {"name": self.name, "tags": ["demo"], **self.spec}


@dataclass(frozen=True)
class Ended:
    """A job that has ended, its attempts, and how often its effect was seen outside."""

    case: Case
    job: dict[str, Any]
    executions: Sequence[dict[str, Any]]
    arrivals: int = 0

    def differences(self) -> list[str]:
        """What is not as it should be; empty if all is."""
        case, job = self.case, self.job
        outcomes = tuple(each["outcome"] for each in self.executions)
        found = []
        if job["status"] != case.status:
            why = (job.get("last_error") or {}).get("message", "no error is known")
            found.append(f"is {job['status']}, not {case.status}: {why}")
        if outcomes != case.outcomes:
            found.append(f"its attempts are {outcomes}, not {case.outcomes}")
        if case.result is not None and job.get("result") != case.result:
            found.append(f"its result is {job.get('result')!r}, not {case.result!r}")
        if case.arrives and self.arrivals != 1:
            found.append(f"it arrived {self.arrivals} times, not once")
        if self.executions and at(self.executions[0]["started_at"]) < self.first_due:
            found.append(f"it started before it was due at {self.first_due}")
        return found

    @property
    def first_due(self) -> datetime:
        """When the first attempt was due: acceptance and the delay."""
        return at(self.job["created_at"]) + timedelta(seconds=self.case.spec.get("delay", 0))


def at(text: str) -> datetime:
    """An RFC 3339 time."""
    return datetime.fromisoformat(text)


def cases(target: str) -> list[Case]:
    """`target` is the URL that the http job calls."""
    return [
        Case("task", {"task": "demo.greet", "payload": "World"}, result="Hello, World"),
        Case(
            "http",
            {"http": {"method": "POST", "url": target, "body": {"hello": "world"}}},
            arrives=True,
        ),
        Case(
            "amqp",
            {"amqp": {"exchange": EXCHANGE, "routing_key": ROUTING_KEY, "body": "hello"}},
            arrives=True,
        ),
        Case("command", {"command": "echo 'Hello World'"}),
        Case("delayed", {"payload": "two seconds later", "delay": 2}, result="two seconds later"),
        Case(
            "fails twice",
            {"task": "demo.flaky", "retry": {"max_attempts": 5, **_QUICKLY}},
            outcomes=("failed", "failed", "succeeded"),
        ),
        Case(
            "dies",
            {"task": "demo.doomed", "retry": {"max_attempts": 2, **_QUICKLY}},
            outcomes=("failed", "failed"),
            status="dead",
        ),
    ]
