"""What schemathesis has to be told beside the description: how lines of JSON are written."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """Text as it is, anything else as one line."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
