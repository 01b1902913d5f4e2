"""What is shown of a job, and what never is."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pipeline.domain.secret import is_sensitive, shown_job
from tests.gateway_world import GatewayWorld, gateway_world

REFERENCE = {"secret": "TOKEN"}
HEADERS = {
    "Authorization": "Bearer abc",
    "x-api-key": "abc",
    "X-Token": REFERENCE,
    "X-Plain": "plain",
}
SHOWN = HEADERS | {"Authorization": "[redacted]", "x-api-key": "[redacted]"}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[GatewayWorld]:
    async with gateway_world() as world:
        yield world


@pytest.mark.parametrize(
    "name",
    ["Authorization", "PROXY-AUTHORIZATION", "Cookie", "Set-Cookie", "X-Api-Key", "apikey",
     "X-Auth-Token", "X-Amz-Security-Token", "Client-Secret", "X-Session-Id", "X-Password",
     "webhook-signature", "X-Auth-Key"],
)  # fmt: skip
def test_these_headers_hold_secrets(name: str) -> None:
    assert is_sensitive(name)


@pytest.mark.parametrize(
    "name", ["Content-Type", "Location", "Retry-After", "Idempotency-Key", "WWW-Authenticate"]
)
def test_these_do_not(name: str) -> None:
    assert not is_sensitive(name)


def test_variables_of_a_command_are_hidden_by_their_names() -> None:
    env = {"API_TOKEN": "abc", "DAY": "monday", "DB_PASSWORD": {"secret": "DB"}}
    shown = shown_job({"command": {"shell": "true", "env": env}})
    assert shown["command"]["env"] == env | {"API_TOKEN": "[redacted]"}
    for command in ("true", ["true"], {"shell": "true"}, {"shell": "true", "env": {"A": "b"}}):
        body = {"command": command}
        assert shown_job(body) is body


def test_what_has_nothing_to_hide_is_shown_as_it_is() -> None:
    bodies: list[dict[str, Any]] = [{}, {"http": {"url": "http://x/"}}, {"http": None}]
    for body in bodies:
        assert shown_job(body) is body


async def test_no_page_of_a_job_shows_its_credentials(world: GatewayWorld) -> None:
    http = {"url": "https://a.example", "headers": HEADERS, "auth": {"header": {
        "name": "X-Other", "value": REFERENCE}}}  # fmt: skip
    job_id = await world.submitted(http=http)
    (listed,) = (await world.get("/api/jobs")).json["items"]
    for shown in (listed, (await world.get(f"/api/jobs/{job_id}")).json):
        assert shown["http"]["headers"] == SHOWN
        assert shown["http"]["auth"]["header"]["value"] == REFERENCE
        assert "abc" not in str(shown)
    assert world.store.jobs[job_id].body["http"]["headers"] == HEADERS


async def test_no_page_of_a_schedule_shows_them_either(world: GatewayWorld) -> None:
    job = {"http": {"url": "https://a.example", "headers": HEADERS}}
    made = await world.post("/api/schedules", {"every": 60, "job": job})
    assert made.json["job"]["http"]["headers"] == SHOWN
    (listed,) = (await world.get("/api/schedules")).json["items"]
    assert listed["job"]["http"]["headers"] == SHOWN
