"""A payload is what the annotation says, or its job is dead, and says where it does not fit."""

import json
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, Field

from pipeline.domain.execution import Succeeded
from pipeline.domain.states import Event
from tests.builders import a_job, an_execution
from tests.endings import failure
from tests.task_world import run
from workers.tasks import Context, Registry


class Order(BaseModel):
    """A payload with a type."""

    customer: str
    day: date
    lines: tuple[int, ...] = Field(max_length=3)


@dataclass
class Point:
    """Another one."""

    x: float
    y: float


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def test_a_payload_is_what_the_annotation_says(registry: Registry) -> None:
    async def it(payload: Order, context: Context) -> Any:
        assert isinstance(payload, Order)
        return [payload.day.year, payload.lines]

    asked = {"customer": "c-7", "day": "2026-12-01", "lines": [1, 2]}
    assert await run(registry, it, asked) == Succeeded([2026, [1, 2]])


async def test_dataclasses_and_plain_types_are_types_too(registry: Registry) -> None:
    def it(payload: list[Point], context: Context) -> float:
        return payload[0].x

    assert await run(registry, it, [{"x": 1, "y": 2}]) == Succeeded(1.0)


async def test_an_annotation_may_be_a_name_in_quotes(registry: Registry) -> None:
    def it(payload: "Order", context: "Context") -> None: ...

    assert failure(await run(registry, it, {})).error.type == "bad_payload"


class Called:
    """An object that can be called."""

    def __call__(self, payload: "Order", context: "Context") -> None: ...


def given(more: int, payload: "Order", context: "Context") -> None: ...


@pytest.mark.parametrize("function", [Called(), Called().__call__, partial(given, 1)])
async def test_a_name_in_quotes_is_read_where_the_function_stands(
    registry: Registry, function: Any
) -> None:
    """Whatever it is that is called: it need not be a function."""
    assert failure(await run(registry, function, {})).error.type == "bad_payload"


async def test_only_the_annotation_of_the_payload_is_read(registry: Registry) -> None:
    """Others may name what was imported for a type checker only."""

    def it(payload: "Order", context: "NeverImported") -> "NorThis": ...  # type: ignore[name-defined]  # noqa: F821

    assert failure(await run(registry, it, {})).error.type == "bad_payload"


async def test_what_does_not_fit_is_told_in_what_a_record_can_hold(registry: Registry) -> None:
    async def it(payload: dict[str, list[int]], context: Context) -> None: ...

    ending = failure(await run(registry, it, {"k" * 200_000: ["x"] * 1000}))
    assert len(ending.report["errors"]) == 100
    assert len(json.dumps(ending.report)) < 1_000_000


async def test_a_payload_that_does_not_fit_says_where_and_is_not_tried_again(
    registry: Registry,
) -> None:
    called: list[Order] = []

    async def it(payload: Order, context: Context) -> None:
        called.append(payload)

    asked = {"day": "someday", "lines": [1, "x"]}
    ending = failure(await run(registry, it, asked))
    assert not called
    assert (ending.error.type, ending.retryable) == ("bad_payload", False)
    assert {each["pointer"] for each in ending.report["errors"]} == {
        "/customer", "/day", "/lines/1"
    }  # fmt: skip
    assert "/customer: Field required" in ending.error.message
    decision = an_execution(a_job(body={"task": "it"}), ending).decision
    assert (decision.event, decision.reason) == (Event.DIE, "not_retryable")


async def test_a_complaint_that_the_code_itself_raises_is_an_ordinary_failure(
    registry: Registry,
) -> None:
    async def it(payload: Any, context: Context) -> None:
        Order.model_validate({})

    ending = failure(await run(registry, it))
    assert (ending.error.type, ending.retryable) == ("ValidationError", True)
