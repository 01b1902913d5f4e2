"""Where tests get their servers from: given, else an engine, else this machine."""

import pytest

from tests.servers import make_plan

GIVEN = {
    "DUEQ_TEST_AMQP_URL": "amqp://there",
    "DUEQ_TEST_MONGO_URL": "mongodb://there",
    "DUEQ_TEST_REDIS_URL": "redis://there",
}


def test_without_urls_and_without_an_engine_all_are_local() -> None:
    assert str(make_plan({}, lambda: False)) == "amqp local, mongo local, redis local"


def test_an_engine_that_answers_is_preferred_to_local_servers() -> None:
    assert str(make_plan({}, lambda: True)) == "amqp docker, mongo docker, redis docker"


def test_given_urls_are_preferred_to_an_engine() -> None:
    given = {"DUEQ_TEST_MONGO_URL": "mongodb://there"}
    assert str(make_plan(given, lambda: True)) == "amqp docker, mongo given, redis docker"


def test_with_all_urls_given_no_engine_is_asked() -> None:
    plan = make_plan(GIVEN, lambda: pytest.fail("asked"))
    assert str(plan) == "amqp given, mongo given, redis given"
    assert plan.given.redis == "redis://there"
