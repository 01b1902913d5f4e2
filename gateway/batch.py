"""A batch of jobs on its way in: which are new, which are known, which are refused.

Ids come from keys where there are keys, so a batch that is sent again after an unknown outcome is
the same jobs again, element by element.
"""

from collections.abc import Mapping

from gateway.asked import Asked, Refusal
from gateway.keys import objection, used_for_another
from pipeline.domain.identity import fingerprint
from pipeline.domain.job import Submission
from pipeline.ports import Standing


class Batch:
    """A batch on its way in. `new` are those to be published; `keyed` has the fingerprint by id."""

    def __init__(self) -> None:
        self.new: list[Submission] = []
        self.refused: list[Refusal] = []
        self.keyed: dict[str, str] = {}
        self._placed: list[tuple[int, Submission]] = []

    @property
    def submissions(self) -> list[Submission]:
        """Those that are not refused, in input order."""
        return [submission for _, submission in self._placed]

    def add(self, asked: Asked, submission: Submission) -> None:
        """One more good one; a second one under its key must be the same job."""
        if submission.keyed:
            mine = fingerprint(asked.body)
            first = self.keyed.setdefault(submission.id, mine)
            if first != mine:
                self.refused.append(Refusal(asked.index, used_for_another()))
                return
        self.new.append(submission)
        self._placed.append((asked.index, submission))

    def sift(self, known: Mapping[str, Standing]) -> None:
        """Those that the store knows are accepted already, or refused; the others are new, once."""
        self.refuse(known)
        new = {each.id: each for each in self.submissions if each.id not in known}
        self.new = list(new.values())

    def refuse(self, stands: Mapping[str, Standing]) -> None:
        """Refuse those under whose id another job stands, or a deleted one."""
        kept: list[tuple[int, Submission]] = []
        for place, submission in self._placed:
            there = stands.get(submission.id)
            error = objection(self.keyed[submission.id], there) if there else None
            if error is None:
                kept.append((place, submission))
            else:
                self.refused.append(Refusal(place, error))
        self._placed = kept
        self.refused.sort(key=lambda refusal: refusal.index)
