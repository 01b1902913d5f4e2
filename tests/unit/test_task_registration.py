"""What `@task` takes, and what it refuses where it stands: else every job would fail of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workers import task as public_task
from workers.tasks import REGISTRY, Context, Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_name_is_given_once(registry: Registry) -> None:
    registry.task("once")(lambda payload, context: None)
    with pytest.raises(ValueError, match=r"'once'.* tests\.unit\.test_task_registration\."):
        registry.task("once")(lambda payload, context: None)


def test_a_decorator_without_a_name_is_refused_where_it_stands(registry: Registry) -> None:
    """Else it would register nothing, and every job would find no such task."""
    nameless: Any = registry.task
    with pytest.raises(TypeError, match="name"):
        nameless(lambda payload, context: None)


@pytest.mark.parametrize("name", ["", "my task", "mine/yours", "x" * 129, "mine\n"])
def test_a_name_that_no_job_could_say_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(ValueError, match="no job could name"):
        registry.task(name)


@pytest.mark.parametrize(
    "function", [lambda: None, lambda payload: None, lambda payload, context, more: None]
)
def test_a_function_that_cannot_be_called_is_refused(registry: Registry, function: Any) -> None:
    with pytest.raises(ValueError, match=r"payload, context"):
        registry.task("it")(function)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "60", timedelta(seconds=60)])
def test_a_timeout_that_is_none_is_refused(registry: Registry, timeout: Any) -> None:
    with pytest.raises(ValueError, match="the timeout of task 'it' is seconds"):
        registry.task("it", timeout=timeout)


def test_a_retry_policy_that_is_none_says_what_is_wrong_with_it(registry: Registry) -> None:
    with pytest.raises(ValueError, match="'it': max_attempt is not a field"):
        registry.task("it", retry={"max_attempt": 3})


def test_a_registered_function_stays_callable_as_it_was() -> None:
    @public_task("tests.stays", timeout=1)
    def stays(payload: Any, context: Context) -> int:
        return 7

    assert stays(None, Context("j", 1, "default", datetime(2026, 1, 1, tzinfo=UTC))) == 7
    assert REGISTRY.get("tests.stays") is not None
