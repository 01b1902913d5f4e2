"""`dueq config`: which values hold here, and where they come from."""

import os
from typing import Annotated

import typer

from infra.cli.output import Format, Output, emit_list, say, say_json


def add_to(app: typer.Typer) -> None:
    """Put the command into the tree."""
    app.command()(config)


def config(
    export: Annotated[
        bool, typer.Option("--export", help="Shell exports of the URLs, with their passwords.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Print the effective settings, secrets masked."""
    from infra.settings import exports, load_settings

    settings = load_settings()
    if export:
        say(exports(settings))
    elif output is Format.JSON:
        say_json({row["variable"]: row["value"] for row in _rows()})
    else:
        columns = ("variable", "value", "from")
        emit_list({"items": _rows()}, output, columns, key="variable")


def _rows() -> list[dict[str, object]]:
    from infra.settings import HOME, load_settings, masked, urls_beside, variable

    beside = urls_beside(HOME, os.environ)
    rows: list[dict[str, object]] = []
    for field, value in load_settings().model_dump(mode="json").items():
        if variable(field) in os.environ:
            source = "environment"
        else:
            source = f"{HOME}" if field in beside else "default"
        rows.append({"variable": variable(field), "value": masked(value), "from": source})
    return rows
