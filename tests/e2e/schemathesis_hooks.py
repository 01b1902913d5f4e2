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
    wait = (case.query or {}).get("wait", 20)
    if case.path.endswith("/next") and isinstance(wait, int | float) and wait <= 60:
        case.query = {**(case.query or {}), "wait": 0}
