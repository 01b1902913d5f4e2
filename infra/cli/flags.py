"""What flags say of a job: submitting, changing and scheduling one have them in common."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.exits import CommandFailed, Exit

_UNITS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86_400}
_KINDS = ("http", "amqp", "command", "task")

Text = str | None
Queue = Annotated[Text, typer.Option(help="Of the jobs.")]
Priority = Annotated[int | None, typer.Option(help="0 to 9, higher first; default 5.")]
Http = Annotated[Text, typer.Option(metavar="URL", help="Call this URL.")]
Method = Annotated[Text, typer.Option(help="Of the call; default GET.")]
Body = Annotated[Text, typer.Option(help="Of the call: JSON, or plain text.")]
Command = Annotated[Text, typer.Option(help="A line for /bin/sh.")]
Task = Annotated[Text, typer.Option(help="A registered Python function.")]
Payload = Annotated[Text, typer.Option(help="For the task: JSON, or plain text.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="May repeat.")]
Timeout = Annotated[Text, typer.Option(help="Of each attempt: 30, 90s, 5m")]
Attempts = Annotated[
    int | None, typer.Option("--max-attempts", help="The first one included; 1: no retry.")
]
Backoff = Annotated[Text, typer.Option(help="exponential, quadratic, linear or fixed.")]
OnLost = Annotated[Text, typer.Option(help="Its worker vanished: retry or dead.")]
Expires = Annotated[
    Text, typer.Option("--expires-at", help="Never begun after: 2026-12-01T06:00:00Z")
]


def work(
    http: dict[str, Any] | None, command: str | list[str] | None, task: Text, payload: Text
) -> dict[str, Any]:
    """What a job does."""
    return given(http=http, command=command, task=task, payload=value(payload))


def terms(
    tags: list[str] | None, timeout: Text, attempts: int | None, backoff: Text, on_lost: Text
) -> dict[str, Any]:
    """How it does that."""
    retry = given(max_attempts=attempts, backoff=backoff)
    return given(
        tags=tags or None,
        timeout=seconds(timeout, "--timeout"),
        retry=retry or None,
        on_lost=on_lost,
    )


def given(**flags: Any) -> dict[str, Any]:
    """Those that were."""
    return {name: content for name, content in flags.items() if content is not None}


def over(asked: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Flags win over what a file says; of `retry` a flag is only one member."""
    retry = asked.get("retry")
    if isinstance(retry, dict) and "retry" in flags:
        flags = {**flags, "retry": {**retry, **flags["retry"]}}
    return {**asked, **flags}


def object_in(file: Text) -> dict[str, Any]:
    """The JSON object in a file (`-`: on stdin); without a file nothing."""
    if file is None:
        return {}
    try:
        told = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    except (OSError, ValueError) as error:
        raise CommandFailed(Exit.USAGE, f"{file}: {error}") from None
    if not isinstance(told, dict):
        raise CommandFailed(Exit.USAGE, f"{file}: not a JSON object")
    return told


def of_one_kind(job: dict[str, Any]) -> dict[str, Any]:
    """A change in which another kind of job takes the place of the one that was there."""
    if not any(kind in job for kind in _KINDS):
        return job
    others: dict[str, Any] = {kind: None for kind in _KINDS if kind not in job}
    return others | ({} if "task" in job else {"payload": None}) | job


def seconds(text: str | None, flag: str = "--in") -> float | None:
    """`90`, `1.5s`, `5m`, `2h`, `1d` as seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", text)
    if not match:
        raise CommandFailed(Exit.USAGE, f"{flag} {text!r} is not a duration such as 30, 5m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def value(text: str | None) -> Any:
    """JSON where it is JSON; what merely looks like it is refused; all else is a string."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        if text.lstrip()[:1] in ("{", "[", '"'):
            raise CommandFailed(Exit.USAGE, f"{text!r} is not JSON: {error}") from None
        return text


def words_of(words: list[str] | None) -> list[str] | None:
    """The words after `--`, which are a command."""
    if not words or words == ["-"]:
        return None
    if "--" not in sys.argv:
        raise CommandFailed(Exit.USAGE, f"write -- before the words of a command: -- {words[0]} …")
    return words


def call(url: str | None, method: str | None, body: str | None) -> dict[str, Any] | None:
    """The `http` of a job."""
    if url is None:
        if method is not None or body is not None:
            raise CommandFailed(Exit.USAGE, "--method and --body go with --http")
        return None
    return given(url=url, method=method, body=value(body))
