"""A bad setting stops the process at start; a good one is what it says."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config import Settings

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DUEQ_{name.upper()}", raising=False)


def test_without_any_variable_everything_is_on_loopback() -> None:
    settings = Settings()
    assert settings.http_host == "127.0.0.1"
    for url in (settings.amqp_url, settings.mongo_url, settings.redis_url, settings.url):
        assert "127.0.0.1" in url
    assert settings.http_allow == ()
    assert (settings.lease, settings.lookahead) == (timedelta(seconds=30), timedelta(seconds=2))


def test_the_defaults_look_often_enough_for_their_look_ahead() -> None:
    settings = Settings()
    assert settings.poll_seconds <= settings.lookahead_seconds < settings.lease_seconds


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUEQ_LEASE_SECONDS", "3")
    monkeypatch.setenv("DUEQ_LOOKAHEAD_SECONDS", "5.5")
    monkeypatch.setenv("DUEQ_HTTP_PORT", "0")
    monkeypatch.setenv("DUEQ_HTTP_ALLOW", " 10.0.0.0/8, ::1/128,intranet.example ,,")
    settings = Settings()
    assert (settings.lease, settings.lookahead) == (timedelta(seconds=3), timedelta(seconds=5.5))
    assert settings.http_port == 0
    assert settings.http_allow == ("10.0.0.0/8", "::1/128", "intranet.example")


def test_other_peoples_variables_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUEQ_SOMETHING_ELSE", "x")
    monkeypatch.setenv("LEASE_SECONDS", "7")
    assert Settings().lease_seconds == 30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", value)
        for value in ("0", "0.5", "-1", "nan", "inf", "-inf", "soon", "", "30s", "1e9")
    ]
    + [("POLL_SECONDS", "0"), ("LOOKAHEAD_SECONDS", "-1"), ("DRAIN_SECONDS", "x")]
    + [("HTTP_PORT", value) for value in ("-1", "65536", "http", "80.5")]
    + [("HTTP_ALLOW", value) for value in ("10.0.0.1/8", "10.0.0.0/33", "example.org/24")]
    + [("COMMANDS_ALLOW", value) for value in ("bin/x", "/bin/ls,./x")]
    + [("AMQP_URL", value) for value in ("", "http://rabbit", "amqp:rabbit", "amqp://", "amqp:///")]
    + [("AMQP_URL", value) for value in ("amqp://me:pa/ss@rabbit", "amqp://rabbit:0/")]
    + [("MONGO_URL", value) for value in ("mongo://db", "mongodb:///dueq", "mongodb://a,/dueq")]
    + [("MONGO_URL", value) for value in ("mongodb://a,b:http/dueq", "mongodb://me:p@ss@db/dueq")]
    + [("REDIS_URL", value) for value in ("localhost:6379", "redis://:6379", "redis://h:70000")]
    + [("REDIS_URL", value) for value in ("redis+sentinel://h/", "redis://[::1/0", "unix://")]
    + [("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml")],
)
def test_a_bad_value_is_refused_and_its_variable_can_be_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DUEQ_{name}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [error["loc"] for error in refused.value.errors()] == [(name.lower(),)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AMQP_URL", "amqps://me:p%40ss@rabbit.example:5671/%2F?heartbeat=10"),
        ("MONGO_URL", "mongodb://me:p%40ss@a:27017,b,[::1]:27019/dueq?replicaSet=r&appName=@x@"),
        ("MONGO_URL", "mongodb+srv://cluster.example/dueq"),
        ("REDIS_URL", "rediss://:p@ss@cache.example:6380/1"),
        ("REDIS_URL", "unix:///run/redis/redis.sock?db=1"),
    ],
)
def test_urls_as_servers_have_them_are_taken_as_they_are(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DUEQ_{name}", value)
    assert getattr(Settings(), name.lower()) == value


def test_a_poll_longer_than_the_look_ahead_would_start_jobs_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DUEQ_POLL_SECONDS", "3")
    with pytest.raises(ValidationError, match=r"DUEQ_POLL_SECONDS .* DUEQ_LOOKAHEAD_SECONDS"):
        Settings()
    monkeypatch.setenv("DUEQ_LOOKAHEAD_SECONDS", "3")
    assert Settings().poll_seconds == 3


def test_settings_do_not_change_while_a_process_runs() -> None:
    settings: Any = Settings()
    with pytest.raises(ValidationError):
        settings.lease_seconds = 1
