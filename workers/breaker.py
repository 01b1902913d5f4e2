"""The breaker: jobs for a target that is sick wait, instead of spending their attempts on it.

A target is scheme, host and port of an http job. What holds, whatever happens:
- An attempt that is held back has sent nothing, and counts as nothing: it is given back with the
  instant at which it is worth asking again. Only a request that was sent uses up an attempt.
- After `after` failures in a row (counted by each worker for itself) requests to the target stop,
  of all workers. Then one at a time goes out, the probe: a real job, due by then. When it is
  answered, all others follow; when it fails, the pause is doubled, up to five minutes. When it says
  nothing (this worker may not go there), the next goes: such jobs would keep the others waiting
  for as long as they come. One that takes more than a minute, be it because its job takes that
  long, is not waited for: the next goes.
- Those held back return in line, 200 a second and target, however many they are; no line costs the
  others more than that. Nobody is put off for more than an hour, and then asks again.
- It is a hint in Redis. Lost with Redis, or unreachable, jobs go out as if there were no breaker,
  and open it again by failing. A worker that dies as the probe is replaced when its time is over.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from pipeline.domain.errors import Unavailable
from pipeline.ports import Chance, Clock, Probe, SickTargets, Wait
from pipeline.telemetry import HTTP_HELD, SICK, TRIPPED, log

_REFRESH = 1.0
"""Seconds for which a worker does not hear of what others have found out."""
_LOOK = 10.0
"""Seconds after which a worker without such jobs hears that a target is well."""
_COUNTED = 10_000
"""Targets whose failures are counted; of more, the oldest count is forgotten."""
_LONGEST_PROBE = timedelta(minutes=1)
_ERROR_CHARS = 200

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class Passed:
    """The right to send one request; `probe` if all others wait for what becomes of it."""

    origin: str
    probe: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The target is well: it answered, whatever it thinks of the request."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The target is sick: no connection, no answer in time, a 5xx, or "later" with an instant."""

    error: str
    at_least: timedelta = timedelta(0)


Health = Answered | Failing


class Breaker:
    """What this worker knows of targets. `after` 0: there is no breaker."""

    def __init__(self, targets: SickTargets, clock: Clock, chance: Chance, after: int) -> None:
        self._targets = targets
        self._clock = clock
        self._chance = chance
        self._after = after
        self._failures: dict[str, int] = {}
        self._sick: set[str] = set()
        self._refresh_at = 0.0
        SICK.set_function(lambda: len(self._sick))

    async def keep_current(self) -> None:
        """Until cancelled: forget targets that others found well, also while no job asks for one;
        else the gauge would tell for ever that they are sick. Asks nothing while none is."""
        while True:
            await self._clock.sleep(_LOOK)
            if self._sick:
                with suppress(Unavailable):
                    await self._refresh()

    async def admit(self, origin: str, queue: str, within: timedelta) -> Passed | Wait:
        """Whether a request may go there now; as a probe it must be over `within`."""
        if not self._after:
            return Passed(origin)
        try:
            await self._refresh()
            if origin not in self._sick:
                return Passed(origin)
            return await self._ask(origin, queue, within)
        except Unavailable:
            return Passed(origin)

    async def heard(self, passed: Passed, health: Health | None) -> None:
        """What became of a request that was let through; None says nothing of the target."""
        if not self._after:
            return
        try:
            match health:
                case Answered():
                    await self._answered(passed)
                case Failing():
                    await self._failed(passed, health)
                case None if passed.probe is not None:
                    await self._targets.give_back(passed.origin, probe=passed.probe)
        except Unavailable as error:
            _log.warning("breaker.untold", error=str(error), next="the next request tells")

    async def _refresh(self) -> None:
        """Learn from the others, once a second; the first one asks, all others go by what was."""
        now = self._clock.monotonic()
        if now < self._refresh_at:
            return
        self._refresh_at = now + _REFRESH
        self._sick = set(await self._targets.origins())

    async def _ask(self, origin: str, queue: str, within: timedelta) -> Passed | Wait:
        token = self._chance.token()
        within = min(within, _LONGEST_PROBE)
        answer = await self._targets.ask(origin, queue, probe=token, within=within)
        if isinstance(answer, Wait):
            HTTP_HELD.labels(queue).inc()
            return answer
        if isinstance(answer, Probe):
            return Passed(origin, token)
        self._sick.discard(origin)  # forgotten or closed since we heard of it: failures count anew
        return Passed(origin)

    async def _answered(self, passed: Passed) -> None:
        self._failures.pop(passed.origin, None)
        if passed.origin in self._sick:
            self._sick.discard(passed.origin)
            if await self._targets.close(passed.origin):
                _log.info("target.well", target=passed.origin, next="its jobs run again")

    async def _failed(self, passed: Passed, failing: Failing) -> None:
        if passed.probe is None and (passed.origin in self._sick or not self._is_enough(passed)):
            return
        self._sick.add(passed.origin)
        is_news = await self._targets.trip(
            passed.origin,
            probe=passed.probe,
            at_least=failing.at_least,
            error=failing.error[:_ERROR_CHARS],
        )
        if is_news and passed.probe is None:
            TRIPPED.inc()
            _log.warning("target.sick", target=passed.origin, error=failing.error[:_ERROR_CHARS],
                         next="its jobs wait; one at a time tries")  # fmt: skip

    def _is_enough(self, passed: Passed) -> bool:
        """Count one more failure in a row."""
        count = self._failures.pop(passed.origin, 0) + 1
        if count >= self._after:
            return True
        self._failures[passed.origin] = count  # the youngest is last
        if len(self._failures) > _COUNTED:
            del self._failures[next(iter(self._failures))]
        return False
