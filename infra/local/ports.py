"""The ports of one data directory: chosen free on the first start, kept in `ports.json` after it.

A kept port that somebody else listens on by now is replaced. Between the choice and the server's
own bind another process can still take a port; whoever starts the server then chooses again.
"""

import json
import random
import socket
from pathlib import Path

# Below Linux's range for outgoing connections (32768 and up): a port in that range can be taken by
# any client's outgoing connection while its server restarts.
CHOICE = range(20_000, 32_000)


class Ports:
    def __init__(self, folder: Path) -> None:
        self._file = folder / "ports.json"

    def claim(self, *names: str) -> dict[str, int]:
        """The kept ports of these names, each of them free at this moment."""
        kept = self._read()
        for name in names:
            if name not in kept or not is_free(kept[name]):
                kept[name] = free_port(but=set(kept.values()))
        self._write(kept)
        return {name: kept[name] for name in names}

    def _read(self) -> dict[str, int]:
        try:
            kept = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return {str(name): int(port) for name, port in kept.items()}

    def _write(self, ports: dict[str, int]) -> None:
        """Whole or not at all: a kill in between leaves the old file."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(ports, indent=2) + "\n")
        fresh.replace(self._file)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: the leftovers of closed connections are no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(but: set[int]) -> int:
    choices = random.SystemRandom().sample(CHOICE, len(CHOICE))
    return next(port for port in choices if port not in but and is_free(port))
