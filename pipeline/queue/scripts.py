"""The Lua scripts: one atomic operation a file, `prelude.lua` in front of each.

Redis forgets scripts when it restarts (not at FLUSHALL), so a caller must be ready to send the
text again.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

_FOLDER = files("pipeline.queue") / "lua"
_PRELUDE = (_FOLDER / "prelude.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis knows it: by its text, or for short by the SHA-1 of it."""

    name: str
    text: str
    sha: str


def load(name: str) -> Script:
    """The script `lua/<name>.lua`."""
    text = _PRELUDE + (_FOLDER / f"{name}.lua").read_text("utf-8")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ADD = load("add")
RESTORE = load("restore")
LEASE = load("lease")
EXTEND = load("extend")
ACK = load("ack")
GIVE_BACK = load("give_back")
EXPIRED = load("expired")
REQUEUE = load("requeue")
DROP = load("drop")
RESUME = load("resume")
WAKE = load("wake")
VIEW = load("view")
PEEK = load("peek")
ANNOUNCE = load("announce")
