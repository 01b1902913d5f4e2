"""The reference pages that are made from the code: `python -m infra.reference`.

`--check` writes nothing and exits 1 when a page in the tree is not what the code says.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from pydantic_core import PydanticUndefined

from infra.asyncapi import document
from infra.settings import variable
from pipeline.clock import StoreClock, SystemChance
from pipeline.config import Settings
from pipeline.domain.states import FIRST_STATES, TRANSITIONS, VISIBLE_STATES
from pipeline.queue.keys import EVERY_KEY
from pipeline.telemetry import REGISTRY

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
Row = tuple[str, ...]
_MADE = "<!-- Made from the code by `python -m infra.reference`; do not edit. -->\n"


def pages() -> dict[str, str]:
    """File name → text, all of them."""
    makers: dict[str, Callable[[], str]] = {
        "states.md": states,
        "config.md": config,
        "metrics.md": metrics,
        "redis-keys.md": redis_keys,
        "openapi.json": openapi,
        "asyncapi.json": asyncapi,
    }
    return {name: make() for name, make in makers.items()}


def stale(folder: Path = FOLDER) -> list[str]:
    """The pages that are missing or not what the code says."""
    return [name for name, text in pages().items() if _read(folder / name) != text]


def write(folder: Path = FOLDER) -> None:
    """Make every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


def states() -> str:
    """The transition table and its drawing."""
    table = _table(
        ("from", "event", "to"),
        ((before, event, after) for (before, event), after in TRANSITIONS.items()),
    )
    drawn = "\n".join(
        f"    {before} --> {after}: {event}"
        for (before, event), after in TRANSITIONS.items()
        if {before, after} <= VISIBLE_STATES
    )
    firsts = "\n".join(f"    [*] --> {state}" for state in sorted(FIRST_STATES))
    drawing = f"```mermaid\nstateDiagram-v2\n{firsts}\n{drawn}\n```\n"
    note = (
        "`buried` is a deleted job: a tombstone, hidden from every list, kept for a day, so that\n"
        "no redelivery brings the job back. It is left out of the drawing.\n"
    )
    return f"{_MADE}# The states of a job\n\n{drawing}\n{note}\n{table}"


def config() -> str:
    """Every variable with its default."""
    rows = [
        (f"`{variable(name)}`", _default(info.default), info.description or "")
        for name, info in Settings.model_fields.items()
    ]
    text = "A bad value stops the process at start, naming the variable. Durations are seconds.\n"
    return f"{_MADE}# Configuration\n\n{text}\n{_table(('variable', 'default', 'what'), rows)}"


def metrics() -> str:
    """Every metric of our own."""
    rows = [
        (f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type,
         ", ".join(_labels(family.name)) or "-", family.documentation)
        for family in sorted(REGISTRY.collect(), key=lambda family: family.name)
    ]  # fmt: skip
    text = "Every process serves its own at `/metrics`, in the Prometheus text format.\n"
    table = _table(("metric", "type", "labels", "what"), rows)
    return f"{_MADE}# Metrics\n\n{text}\n{table}"


def redis_keys() -> str:
    """Every key in Redis."""
    rows = [(f"`{key.pattern}`", key.type, key.holds) for key in EVERY_KEY]
    text = (
        "DueQ alone writes them; reading them with `redis-cli` is safe. All of it may be lost at\n"
        "any moment and is rebuilt from MongoDB. The braces are literal: the Redis Cluster hash\n"
        "tag.\n"
    )
    return f"{_MADE}# Redis keys\n\n{text}\n{_table(('key', 'type', 'holds'), rows)}"


def openapi() -> str:
    """The HTTP API, as the gateway describes it itself."""
    from gateway.app import GatewayDeps, create_app

    # Nothing is called while it describes itself, but the clock.
    nothing = cast(Any, None)
    app = create_app(
        GatewayDeps(nothing, nothing, nothing, StoreClock(), SystemChance(), *[nothing] * 3)
    )
    return json.dumps(app.openapi(), indent=2, sort_keys=True) + "\n"


def asyncapi() -> str:
    """The AMQP side."""
    return json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _table(columns: tuple[str, ...], rows: Iterable[Row]) -> str:
    return "\n".join(_lines(columns, rows)) + "\n"


def _lines(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"


def _default(value: object) -> str:
    if value is None or value is PydanticUndefined or value == ():
        return "-"
    return f"`{value}`"


def _labels(name: str) -> tuple[str, ...]:
    collector = REGISTRY._names_to_collectors.get(name)
    return tuple(getattr(collector, "_labelnames", ()))


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def main(arguments: list[str]) -> int:
    """Write, or with `--check` compare; the exit code."""
    if arguments == ["--check"]:
        old = stale()
        for name in old:
            sys.stderr.write(f"docs/reference/{name} is stale: python -m infra.reference\n")
        return 1 if old else 0
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
