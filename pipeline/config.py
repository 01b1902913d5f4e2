"""The settings of a process, from the environment (prefix `DUEQ_`). Only entry points read them.

A bad value stops the process at start, naming the variable. Durations are seconds.
"""

from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0, le=86_400)]


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
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "text"], Field(description="auto: text on a terminal, else JSON.")
    ] = "auto"

    @field_validator("http_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("http_allow")
    @classmethod
    def _networks_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if "/" in part:
                ip_network(part)
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
    def lease(self) -> timedelta:
        """`DUEQ_LEASE_SECONDS` as a duration."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def lookahead(self) -> timedelta:
        """`DUEQ_LOOKAHEAD_SECONDS` as a duration."""
        return timedelta(seconds=self.lookahead_seconds)
