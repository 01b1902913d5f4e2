"""What a client asks for: one job, an array of jobs, a job a line. Bytes in, checked specs out.

A bad element of a batch costs only itself; a batch that is no list of jobs is refused as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic_core import from_json

from gateway.deps import Limits
from pipeline.domain.body import check_value, read_json, read_spec
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.job import JobSpec


@dataclass(frozen=True, slots=True)
class Asked:
    """A job that is as it should be; `index` is its place in the request."""

    index: int
    body: dict[str, Any]
    spec: JobSpec


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job that is not; pointers into the element."""

    index: int
    error: Rejected


def read_one(data: bytes) -> Asked:
    """The one job of a request; raises `Rejected`."""
    body = read_json(data)
    return Asked(0, body, read_spec(body))


def read_array(data: bytes, limits: Limits) -> Iterator[Asked | Refusal]:
    """The jobs of a JSON array, in order; raises `Rejected` if it is no such thing."""
    try:
        values = from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise Rejected("malformed", Flaw("", f"not JSON: {error}")) from None
    if not isinstance(values, list):
        raise Rejected("invalid", Flaw("", "a batch is a JSON array of jobs, or a job a line"))
    _check_count(len(values), limits)
    if len(data) <= limits.job_bytes:  # then no element is larger either
        return (_read_value(index, value) for index, value in enumerate(values))
    return (_read_measured(index, value, limits) for index, value in enumerate(values))


def read_lines(data: bytes, limits: Limits) -> Iterator[Asked | Refusal]:
    """The jobs of NDJSON, in order; blank lines do not count."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    _check_count(len(lines), limits)
    return (_read_line(index, line, limits) for index, line in enumerate(lines))


def _check_count(count: int, limits: Limits) -> None:
    if count == 0:
        raise Rejected("invalid", Flaw("", "there is no job in it"))
    if count > limits.batch_jobs:
        flaw = Flaw("", f"a batch may have {limits.batch_jobs} jobs at most, this one has {count}")
        raise Rejected("too_large", flaw)


def _read_value(index: int, value: Any) -> Asked | Refusal:
    try:
        check_value(value)
        return Asked(index, value, read_spec(value))
    except Rejected as error:
        return Refusal(index, error)


def _read_measured(index: int, value: Any, limits: Limits) -> Asked | Refusal:
    try:
        check_value(value)
        _check_size(len(orjson.dumps(value)), limits)
        return Asked(index, value, read_spec(value))
    except Rejected as error:
        return Refusal(index, error)


def _read_line(index: int, line: bytes, limits: Limits) -> Asked | Refusal:
    try:
        _check_size(len(line), limits)
        body = read_json(line)
        return Asked(index, body, read_spec(body))
    except Rejected as error:
        return Refusal(index, error)


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.job_bytes:
        raise Rejected("too_large", Flaw("", f"a job may have {limits.job_bytes} bytes at most"))
