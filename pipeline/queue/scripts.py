"""The Lua scripts: one atomic operation a file, `prelude.lua` in front of each.

What some of them share is in files of its own, which stand in front of those that name them.

Redis forgets scripts when it restarts (not at FLUSHALL), so a caller must be ready to send the
text again.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

_FOLDER = files("pipeline.queue") / "lua"

Instant = Callable[[], str]
"""The first word of scripts that judge by time, in ms: a test says it, else it is empty."""


def by_redis() -> str:
    """No instant: the script asks Redis for its time (R11)."""
    return ""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis knows it: by its text, or for short by the SHA-1 of it."""

    name: str
    text: str
    sha: str


Part = str | tuple[str, ...]
"""A file; or several, of which the last has the function of its name: they are defined only when
it is called."""


def load(name: str, *shared: Part) -> Script:
    """The script `lua/<name>.lua`, after the `shared` ones."""
    text = "".join(map(_text_of, ("prelude", *shared, name)))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _text_of(part: Part) -> str:
    if isinstance(part, str):
        return (_FOLDER / f"{part}.lua").read_text("utf-8")
    body = "".join(map(_text_of, part))
    return f"local function {part[-1]}(...)\n{body}return {part[-1]}(...)\nend\n"


# What a script does not need costs time too: functions are defined at each call. Leases go through
# three scripts, acknowledgements through two: where no limits are in use, where the queue has one,
# and where jobs have limit keys. What a lease needs seldom is defined when it is needed.
_LINE = ("limits", "line", "twice", "verdict", "judge", "write_down", "admit", "started")
_END = (*_LINE, "seats", "ended")
_PUT = (*_END, "recall", "reorder", "moves", "arrive")
_PLACE = (*_PUT, "direct", "place")

ADD = load("add", *_PLACE)
RESTORE = load("restore", *_PLACE)
WITHDRAW = load("withdraw", *_PUT)
LEASE = load("lease", "plain")
LEASE_OWN = load("lease_own", "plain", "limits", "room")
LEASE_LIMITED = load(
    "lease_limited", "limits", (*_PUT, "promote"), (*_LINE, "settle_up"), "take", "room"
)
EXTEND = load("extend", *_END, "recall", "hold")
ACK = load("ack")
ACK_LIMITED = load("ack_limited", *_END, "let_go")
FORGO = load("forgo", *_END, "let_go", "refund")
GIVE_BACK = load("give_back", *_PLACE, "refund")
EXPIRED = load("expired")
REQUEUE = load("requeue", *_PLACE)
DROP = load("drop", *_END)
RESUME = load("resume")
LIMIT = load("limit", "limits")
RECOUNT = load("recount", *_END, "wrong")
FORGET = load("forget", "limits", "started")
WAKE = load("wake")
VIEW = load("view", "limits", "room")
KEYS = load("keys", "limits", "line", "running")
PEEK = load("peek", "limits", "line", "running")
ANNOUNCE = load("announce")
HEARD = load("heard")
PROMISE = load("promise")
PLACES = load("places")
TAKE_BACK = load("take_back")
WRITE_LOG = load("write_log")
SICK_TRIP = load("sick_trip")
SICK_ASK = load("sick_ask")
SICK_GIVE_BACK = load("sick_give_back")
SICK_CLOSE = load("sick_close")
SICK_ORIGINS = load("sick_origins")
