"""The table of contents of the system: what the stages, the gateway and the workers stand on.

Each port has a real implementation (`broker`, `store`, `queue`, `clock`) and a fake one
(`tests/fakes`), held together by one suite in `tests/adapters`. Adapters raise `Unavailable` when
their server does not answer and `UnknownOutcome` when a write was sent and no answer came; driver
errors never pass.
"""

from pipeline.ports.events import EventFeed, EventOutlet, HistoryLost
from pipeline.ports.http_workers import HttpWorkers, Promise
from pipeline.ports.job_store import (
    Attempt,
    Claim,
    JobFilter,
    JobIds,
    JobStore,
    Page,
    Place,
    Position,
    Standing,
    Stored,
)
from pipeline.ports.lease_queue import SOON, ExpiredLease, Grant, Incarnation, Lease, LeaseQueue
from pipeline.ports.live_notes import NOTHING_TOLD, LiveNote, LiveNotes, NothingTold, Progress
from pipeline.ports.mailbox import Delivery, Intake, Mailbox, Remains
from pipeline.ports.schedule_store import Advance, SchedulePage, ScheduleStore, Skipped
from pipeline.ports.sick_targets import Probe, SickTarget, SickTargets, Wait, Well
from pipeline.ports.time_and_chance import Chance, Clock
from pipeline.ports.views import (
    OVER_HTTP,
    Death,
    KeyView,
    Peeked,
    QueueView,
    Room,
    WatcherView,
    WorkerView,
)

__all__ = [
    "NOTHING_TOLD",
    "OVER_HTTP",
    "SOON",
    "Advance",
    "Attempt",
    "Chance",
    "Claim",
    "Clock",
    "Death",
    "Delivery",
    "EventFeed",
    "EventOutlet",
    "ExpiredLease",
    "Grant",
    "HistoryLost",
    "HttpWorkers",
    "Incarnation",
    "Intake",
    "JobFilter",
    "JobIds",
    "JobStore",
    "KeyView",
    "Lease",
    "LeaseQueue",
    "LiveNote",
    "LiveNotes",
    "Mailbox",
    "NothingTold",
    "Page",
    "Peeked",
    "Place",
    "Position",
    "Probe",
    "Progress",
    "Promise",
    "QueueView",
    "Remains",
    "Room",
    "SchedulePage",
    "ScheduleStore",
    "SickTarget",
    "SickTargets",
    "Skipped",
    "Standing",
    "Stored",
    "Wait",
    "WatcherView",
    "Well",
    "WorkerView",
]
