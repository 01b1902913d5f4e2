"""The settings of a process, from the environment (prefix `DUEQ_`). Only entry points read them.

A bad value stops the process at start, naming the variable. Durations are seconds.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipeline.domain.allowed import parse_allowed
from pipeline.domain.command_work import check_allowed
from pipeline.domain.states import State
from pipeline.server_url import require_encoded_user, require_usable

Seconds = Annotated[float, Field(gt=0, le=86_400)]
_DAY = 86_400.0


def _forever_is_zero(value: object) -> object:
    return 0 if isinstance(value, str) and value.strip().lower() == "forever" else value


Kept = Annotated[float, BeforeValidator(_forever_is_zero), Field(ge=0, le=100 * 366 * _DAY)]
"""Seconds; 0 or `forever`: never deleted."""


class Settings(BaseSettings):
    """Every variable with its default; `dueq config` prints the effective ones."""

    model_config = SettingsConfigDict(env_prefix="DUEQ_", frozen=True, extra="ignore")

    amqp_url: Annotated[str, Field(description="RabbitMQ.")] = (
        "amqp://guest:guest@127.0.0.1:5672/%2F"
    )
    mongo_url: Annotated[
        str, Field(description="MongoDB, a replica set; the path names the database.")
    ] = "mongodb://127.0.0.1:27017/dueq?replicaSet=dueq"
    redis_url: Annotated[str, Field(description="Redis; it must not evict (`noeviction`).")] = (
        "redis://127.0.0.1:6379/0"
    )
    url: Annotated[str, Field(description="Where the command line finds the gateway.")] = (
        "http://127.0.0.1:8080"
    )
    http_host: Annotated[str, Field(description="The address that servers bind to.")] = "127.0.0.1"
    http_front_host: Annotated[
        str | None,
        Field(
            description="The address of a balancer or proxy in front of the gateway; unset: there "
            "is none. A gateway that can be reached from loopback alone refuses the Host and "
            "Origin of others."
        ),
    ] = None
    http_port: Annotated[
        int | None,
        Field(
            ge=0,
            le=65_535,
            description="The port of this process; 0 takes a free one. Unset: gateway 8080, "
            "ingest 8081, watcher 9001, worker 7001, or the next free one.",
        ),
    ] = None
    http_allow: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="CIDRs and hosts, by commas, that http jobs may reach beside the "
              "public internet."),
    ] = ()  # fmt: skip
    http_breaker_failures: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="So many failures in a row make a target of http jobs (scheme, host, "
            "port) sick: its jobs wait without using up attempts, and one at a time tries. "
            "0: never.",
        ),
    ] = 5
    secrets_dir: Annotated[
        Path | None,
        Field(
            description="A folder with a file for each named secret; `DUEQ_SECRET_<NAME>` goes "
            "before. Workers alone read it."
        ),
    ] = None
    commands_allow: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="The commands that workers run for jobs, by commas: names, absolute "
              "paths, or folders with a slash at the end. Goes before --allow-commands."),
    ] = ()  # fmt: skip
    lease_seconds: Annotated[
        Seconds, Field(ge=1, description="How long a worker may be silent before it is lost.")
    ] = 30.0
    poll_seconds: Annotated[
        Seconds,
        Field(ge=0.01, description="How often the dispatcher looks for due jobs at the latest."),
    ] = 2.0
    lookahead_seconds: Annotated[
        Seconds, Field(description="How long before it is due a job is put into Redis.")
    ] = 2.0
    drain_seconds: Annotated[
        Seconds, Field(description="How long a stopping worker waits for its running jobs.")
    ] = 10.0
    publish_timeout_seconds: Annotated[
        Seconds, Field(description="How long the gateway waits for RabbitMQ's confirm.")
    ] = 5.0
    events: Annotated[
        Literal["on", "off"],
        Field(description="Whether this watcher offers itself to tell lifecycle events."),
    ] = "on"
    # What succeeded is rarely looked at after a week; what did not is the work of a person, who may
    # be away for some weeks and then redrives it.
    retention_succeeded_seconds: Annotated[
        Kept,
        Field(
            description="How long after its end a succeeded job is kept, with its executions; "
            "0 or `forever`: for ever. 7 days."
        ),
    ] = 7 * _DAY
    retention_dead_seconds: Annotated[
        Kept, Field(description="The same for a dead job, which can be retried as long. 30 days.")
    ] = 30 * _DAY
    retention_cancelled_seconds: Annotated[
        Kept, Field(description="The same for a cancelled job. 30 days.")
    ] = 30 * _DAY
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "text"], Field(description="auto: text on a terminal, else JSON.")
    ] = "auto"

    @field_validator("amqp_url")
    @classmethod
    def _amqp_usable(cls, value: str) -> str:
        return require_usable(value, ("amqp", "amqps"))

    @field_validator("mongo_url")
    @classmethod
    def _mongo_usable(cls, value: str) -> str:
        return require_encoded_user(require_usable(value, ("mongodb", "mongodb+srv")))

    @field_validator("redis_url")
    @classmethod
    def _redis_usable(cls, value: str) -> str:
        return require_usable(value, ("redis", "rediss", "unix"))

    @field_validator("http_allow", "commands_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("http_allow")
    @classmethod
    def _networks_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_allowed(value)
        return value

    @field_validator("commands_allow")
    @classmethod
    def _commands_are_named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_allowed(value)
        return value

    @model_validator(mode="after")
    def _poll_within_lookahead(self) -> Self:
        if self.poll_seconds > self.lookahead_seconds:
            raise ValueError(
                "DUEQ_POLL_SECONDS must not be longer than DUEQ_LOOKAHEAD_SECONDS: "
                "jobs would become due between two looks and start late"
            )
        return self

    @property
    def front_host(self) -> str:
        """Where clients come in: at what stands in front, or at ourselves."""
        return self.http_front_host or self.http_host

    @property
    def lease(self) -> timedelta:
        """`DUEQ_LEASE_SECONDS` as a duration."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def lookahead(self) -> timedelta:
        """`DUEQ_LOOKAHEAD_SECONDS` as a duration."""
        return timedelta(seconds=self.lookahead_seconds)

    @property
    def retention(self) -> Mapping[State, timedelta]:
        """How long a job is kept in each final state; one that is missing is kept for ever."""
        seconds = {
            State.SUCCEEDED: self.retention_succeeded_seconds,
            State.DEAD: self.retention_dead_seconds,
            State.CANCELLED: self.retention_cancelled_seconds,
        }
        return {state: timedelta(seconds=kept) for state, kept in seconds.items() if kept}
