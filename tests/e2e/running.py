"""A real `dueq up` and the commands beside it, as a person has them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

from tests.support import is_alive

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
STOP_SECONDS = 60


def clean_environment(**more: str) -> dict[str, str]:
    """Ours without any DueQ setting, so that nothing but the test decides."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DUEQ_")}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def command(*arguments: str) -> list[str]:
    """The argv of a `dueq` command, whether or not it is installed."""
    return [sys.executable, "-P", "-m", "infra.cli", *arguments]


@dataclass(frozen=True)
class Up:
    """A `dueq up` that is ready; `line` is what it printed."""

    process: "subprocess.Popen[str]"
    line: Mapping[str, Any]
    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    @property
    def http(self) -> str:
        """Where clients find it."""
        return str(self.line["http"])

    def processes(self, role: str) -> list[Mapping[str, Any]]:
        """Those of a role, as they were when it was ready."""
        return [each for each in self.line["processes"] if each["role"] == role]

    def processes_now(self, role: str) -> list[Mapping[str, Any]]:
        """Those of a role that run now."""
        written = json.loads((self.folder / ".dueq" / "urls.json").read_text())
        return [each for each in written["processes"] if each["role"] == role]

    def dueq(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command in the folder of this `dueq up`, which it finds by itself."""
        return run(*arguments, folder=self.folder, stdin=stdin)

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """The data that a command prints with `-o json`."""
        ran = self.dueq(*arguments, "-o", "json", stdin=stdin)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def get(self, path: str) -> Any:
        """What the gateway answers: a command that is asked again and again takes a whole core."""
        with urlopen(f"{self.http}{path}", timeout=10) as answer:
            return json.load(answer)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=STOP_SECONDS)


def run(
    *arguments: str, folder: Path, stdin: str = "", **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a `dueq` command to its end."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=clean_environment(**settings), input=stdin,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@contextmanager
def up(folder: Path, *arguments: str, **settings: str) -> Iterator[Up]:
    """A `dueq up` with its data in `folder/.dueq`; stopped in the end if it still runs."""
    environment = clean_environment(**settings)
    with (folder / "up.log").open("w+") as log:
        process = subprocess.Popen(
            command("up", "--port", "0", "-o", "json", *arguments),
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            yield Up(process, _ready_line(process.stdout, folder / "up.log"), folder, environment)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=STOP_SECONDS)
            process.stdout.close()


def _ready_line(stdout: IO[str], log: Path) -> Mapping[str, Any]:
    line = stdout.readline()
    assert line, f"dueq up ended:\n{log.read_text()}"
    ready: Mapping[str, Any] = json.loads(line)
    return ready


def pids_in(folder: Path) -> list[int]:
    """Processes that belong to a folder: they run in it, or name it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes() + bytes((entry / "cwd").readlink())
        except OSError:
            continue
        if str(folder).encode() in words and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found
