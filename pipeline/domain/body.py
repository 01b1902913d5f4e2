"""What users send, read once: bytes → JSON value → `JobSpec`.

Everything that MongoDB, Redis or a later reader would choke on is refused here, with a pointer to
where it stands: non-finite numbers, integers outside int64, lone surrogates, NUL in keys, nesting
deeper than 32. After this, inside the system, a spec is trusted.
"""

import math
import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.job import JobSpec

MAX_DEPTH = 32
MAX_JOB_BYTES = 256 * 1024
MAX_REQUEST_BYTES = 16 * 1024 * 1024
MAX_REQUEST_JOBS = 10_000
_INT64 = 2**63
_OBJECT, _ARRAY = "must be a JSON object", "must be a JSON array"
_SHAPES = {
    "dataclass_type": _OBJECT,
    "dict_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "model_type": _OBJECT,
    "list_type": _ARRAY,
    "tuple_type": _ARRAY,
}
"""Of what pydantic says in words of Python."""
_SUBJECT = re.compile(r"^(Input|String|List|Tuple|Dictionary) should ")
"""What pydantic speaks of, after a pointer that has said it."""


def read_json(data: bytes) -> Any:
    """The JSON value of `data`; raises `Rejected` (`malformed`) for what we do not accept."""
    value = parse_json(data)
    check_value(value)
    return value


def parse_json(data: bytes) -> Any:
    """The JSON value of `data`, not checked yet: of an array each element is checked alone (R3)."""
    try:
        return from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise Rejected("malformed", Flaw("", f"not JSON: {error}")) from None


def check_value(value: Any, pointer: str = "", depth: int = 0) -> None:
    """Walk a JSON value once; raises `Rejected` (`malformed`) at the first thing not storable."""
    if isinstance(value, str):
        _check_text(value, pointer)
    elif isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            raise Rejected("malformed", Flaw(pointer, f"nested deeper than {MAX_DEPTH} levels"))
        _check_members(value, pointer, depth)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Rejected("malformed", Flaw(pointer, "is not a finite number"))
    elif isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise Rejected("malformed", Flaw(pointer, "is an integer outside 64 bits"))


def _check_members(value: dict[str, Any] | list[Any], pointer: str, depth: int) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            _check_key(key, pointer)
            check_value(member, f"{pointer}/{escaped(key)}", depth + 1)
    else:
        for index, member in enumerate(value):
            check_value(member, f"{pointer}/{index}", depth + 1)


def _check_key(key: str, pointer: str) -> None:
    if "\0" in key:
        raise Rejected("malformed", Flaw(pointer, "a key contains NUL"))
    _check_text(key, pointer)


def _check_text(text: str, pointer: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Rejected("malformed", Flaw(pointer, "contains a lone surrogate")) from None


def read_spec(body: Any) -> JobSpec:
    """The job spec in a checked JSON value; raises `Rejected` (`invalid`) with every flaw."""
    if not isinstance(body, dict):
        raise Rejected("invalid", Flaw("", "a job is a JSON object"))
    try:
        return JobSpec.model_validate(body)
    except ValidationError as error:
        raise Rejected("invalid", *flaws_of(error, body)) from None


def flaws_of(error: ValidationError, body: Any) -> list[Flaw]:
    """Pydantic's complaints as pointers into what the user wrote, one for each place."""
    flaws: dict[str, Flaw] = {}
    for detail in error.errors(include_url=False, include_input=False):
        pointer = _pointer(detail, body)
        flaws.setdefault(pointer, Flaw(pointer, _sentence(detail)))
    return list(flaws.values())


def _sentence(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return "is not a field of this object"
    if shape := _SHAPES.get(detail["type"]):
        return shape
    return sentence(detail["msg"])


def sentence(said: str) -> str:
    """What pydantic says, without what is its own in it."""
    return _SUBJECT.sub("must ", said).removeprefix("Value error, ")


def _pointer(detail: ErrorDetails, body: Any) -> str:
    """Only steps that exist in the body: pydantic also names the members of unions, which nobody
    wrote. A missing field is the exception: it is named where it should be."""
    location = detail["loc"]
    parts = []
    for step in location:
        if _has(body, step):
            body = body[step]
            parts.append(step)
    if detail["type"] == "missing":
        parts.append(location[-1])
    return "".join(f"/{escaped(str(part))}" for part in parts)


def _has(body: Any, step: int | str) -> bool:
    if isinstance(body, dict):
        return step in body
    return isinstance(body, list) and isinstance(step, int) and step < len(body)


def escaped(part: str) -> str:
    """A name as a step of a pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
