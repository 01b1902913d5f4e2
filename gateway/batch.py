"""A batch of jobs on its way in: which are new, which are known, which are refused.

Ids come from keys where there are keys, so a batch that is sent again after an unknown outcome is
the same jobs again, element by element.
"""

from collections.abc import Mapping

from gateway.asked import Asked, Refusal
from gateway.keys import used_for_another
from pipeline.domain.identity import fingerprint
from pipeline.domain.job import Job, Submission


class Batch:
    """A batch on its way in. `submissions` are in input order; `new` are those to be published."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.new: list[Submission] = []
        self.refused: list[Refusal] = []
        self.keyed: dict[str, str] = {}
        self._places: list[int] = []

    def add(self, asked: Asked, submission: Submission) -> None:
        """One more good one; a second one under its key must be the same job."""
        if submission.keyed:
            mine = fingerprint(asked.body)
            first = self.keyed.setdefault(submission.id, mine)
            if first != mine:
                self.refused.append(Refusal(asked.index, used_for_another()))
                return
        self.submissions.append(submission)
        self.new.append(submission)
        self._places.append(asked.index)

    def sift(self, known: Mapping[str, Job]) -> None:
        """Those that the store knows are accepted already, or refused if they are another job."""
        kept: list[Submission] = []
        sent: set[str] = set()
        self.new = []
        for place, submission in zip(self._places, self.submissions, strict=True):
            job = known.get(submission.id)
            if job is not None and fingerprint(job.body) != self.keyed[submission.id]:
                self.refused.append(Refusal(place, used_for_another()))
                continue
            kept.append(submission)
            if job is None and submission.id not in sent:
                self.new.append(submission)
                sent.add(submission.id)
        self.submissions = kept
        self.refused.sort(key=lambda refusal: refusal.index)
