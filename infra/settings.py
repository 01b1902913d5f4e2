"""The effective settings of a process: environment, then the `dueq up` beside it, then defaults.

`dueq up` writes the URLs of its servers into `.dueq/urls.json`. A command started in the same
folder reads them, unless a URL in the environment names another system: half of one and half of
another is never what anybody wants.
"""

import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from infra.exits import CommandFailed, Exit
from pipeline.config import Settings

HOME = Path(".dueq")
URLS_FILE = "urls.json"
URL_FIELDS = ("amqp_url", "mongo_url", "redis_url", "url")


def load_settings(home: Path = HOME, environment: Mapping[str, str] = os.environ) -> Settings:
    """What holds here and now. A bad value ends the command, naming the variable."""
    try:
        return Settings(**urls_beside(home, environment))  # type: ignore[arg-type]
    except ValidationError as error:
        text = "; ".join(_complaint(each) for each in error.errors())
        raise CommandFailed(Exit.USAGE, text) from None


def urls_beside(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What a running `dueq up` wrote; nothing when the environment names a server of another."""
    try:
        written = json.loads((home / URLS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    urls = {field: str(written[field]) for field in URL_FIELDS if field in written}
    named = {f: environment[variable(f)] for f in URL_FIELDS if variable(f) in environment}
    return urls if named.items() <= urls.items() else {}


def variable(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return f"DUEQ_{field.upper()}"


def exports(settings: Settings) -> str:
    """Lines for `eval "$(dueq config --export)"`: the URLs as they are, passwords and all."""
    lines = (f"export {variable(f)}={shlex.quote(getattr(settings, f))}" for f in URL_FIELDS)
    return "\n".join(lines)


def masked(value: object) -> object:
    """The value with the passwords of its URLs as stars."""
    if not isinstance(value, str):
        return value
    return re.sub(r"(?<=://)([^/@:]*):([^/]*)@", r"\1:***@", value)


def _complaint(error: object) -> str:
    assert isinstance(error, dict)
    text = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return text
    field = str(error["loc"][0])
    if field in URL_FIELDS:  # where its password is cannot be told: it is not as URLs are
        return f"{variable(field)} cannot be used: {text}"
    return f"{variable(field)}={error['input']!r} cannot be used: {text}"
