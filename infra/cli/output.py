"""Data on stdout, as a table, as JSON, line by line, or only the ids; all else on stderr.

JSON is printed as it is, never wrapped or coloured. A table in a pipe has no colours and cuts
nothing off. Control characters that came from outside are shown, not obeyed.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any, assert_never

import typer

from infra.exits import CommandFailed, Exit

Row = Mapping[str, Any]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PLAIN = "\n\t\u200c\u200d"
"""Lines, tabs, and what joins letters and emoji, or keeps them apart."""
_COLOURS = {"succeeded": "green", "dead": "red", "running": "yellow", "queued": "cyan"}


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    ID = "id"


Output = Annotated[Format, typer.Option("--output", "-o", help="table, json, jsonl or id.")]


def emit_one(row: Row, form: Format, columns: Sequence[str], key: str = "id") -> None:
    """One thing: a table of its fields, or its JSON."""
    match form:
        case Format.TABLE:
            lines = [(name, cell(row[name])) for name in columns if row.get(name) is not None]
            _table(("field", "value"), lines, heading=False)
        case Format.JSON | Format.JSONL:
            say_json(row)
        case Format.ID:
            say(str(row[key]))
        case _:
            assert_never(form)


def emit_list(answer: Row, form: Format, columns: Sequence[str], key: str = "id") -> None:
    """The `items` of an answer: a table, the whole answer as JSON, or a line for each."""
    rows: Sequence[Row] = answer["items"]
    match form:
        case Format.TABLE:
            _table(columns, [[cell(row.get(name)) for name in columns] for row in rows])
        case Format.JSON:
            say_json(answer)
        case Format.JSONL:
            for row in rows:
                say_json(row)
        case Format.ID:
            for row in rows:
                say(str(row[key]))
        case _:
            assert_never(form)


def say(line: str) -> None:
    """A line of data."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def harmless(text: str) -> str:
    """With its lines and tabs; of what else a terminal would obey, only that it was there."""
    return "".join(each if _is_harmless(each) else "\ufffd" for each in text)


def _is_harmless(character: str) -> bool:
    is_shown = character.isprintable() or unicodedata.category(character) == "Zs"
    return is_shown or character in _PLAIN


def say_json(value: object) -> None:
    """A value as one line of JSON, in which nothing is obeyed by a terminal either."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    say(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def tell(line: str) -> None:
    """A line for the person, beside the data; whose terminal may have gone."""
    with suppress(OSError):
        sys.stderr.write(harmless(line) + "\n")
        sys.stderr.flush()


def tell_more(answer: Row, form: Format) -> None:
    """How a list goes on, for a person; who reads JSON finds that there."""
    if form is Format.TABLE and answer["next_cursor"]:
        tell(f"More: --cursor {answer['next_cursor']}")


def check_person(otherwise: str) -> None:
    """Raises `CommandFailed` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise CommandFailed(Exit.USAGE, f"nobody can be asked here: {otherwise}")


def confirm(question: str, otherwise: str) -> None:
    """Raises `CommandFailed`, with `otherwise`, unless the person says yes; stdout is for data."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailed(Exit.FAILED, otherwise)


def cell(value: object) -> str:
    """A value as a person reads it, on one line."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _CONTROL.sub("\ufffd", harmless(text))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, heading: bool = True) -> None:
    rows = list(rows)
    if sys.stdout.isatty():
        _coloured_table(columns, rows, heading=heading)
        return
    lines = [[name.upper() for name in columns], *rows] if heading else rows
    widths = [max((len(line[n]) for line in lines), default=0) for n in range(len(columns))]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())


def _coloured_table(columns: Sequence[str], rows: list[Sequence[str]], *, heading: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=heading, header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name.upper(), no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in row))
    Console().print(table)
