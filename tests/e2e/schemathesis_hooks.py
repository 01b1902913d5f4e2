"""What schemathesis has to be told beside the description: how lines of JSON are written, and that
a request for work need not wait."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """Text as it is, anything else as one line."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """What may wait for a minute, and was asked in order to, asks for an answer at once."""
    query = case.query or {}
    if case.path.endswith("/next") and would_wait(query.get("wait", 20)):
        case.query = {**query, "wait": 0}


def would_wait(said: Any) -> bool:
    """Also as text; what is no such number is refused at once, and goes as it is."""
    try:
        return 0 < float(said) <= 60
    except (TypeError, ValueError):
        return False
