"""Which values hold: the environment, the `dueq up` beside us, the defaults."""

import json
from pathlib import Path

import pytest

from infra.exits import CommandFailed, Exit
from infra.roles.ports import USUAL, bind, url_of
from infra.settings import exports, load_settings, masked, urls_beside

BESIDE = {
    "amqp_url": "amqp://guest:guest@127.0.0.1:1/",
    "mongo_url": "mongodb://127.0.0.1:2/dueq",
    "redis_url": "redis://127.0.0.1:3/0",
    "url": "http://127.0.0.1:4",
    "ready": True,
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "urls.json").write_text(json.dumps(BESIDE))
    return tmp_path


def test_commands_beside_a_running_system_find_its_urls(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DUEQ_AMQP_URL", "DUEQ_MONGO_URL", "DUEQ_REDIS_URL", "DUEQ_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings(home)
    assert settings.redis_url == BESIDE["redis_url"]
    assert settings.url == BESIDE["url"]


def test_one_url_in_the_environment_and_none_is_taken_from_beside(home: Path) -> None:
    assert urls_beside(home, {"DUEQ_MONGO_URL": "mongodb://elsewhere/dueq"}) == {}


def test_a_url_in_the_environment_that_is_of_the_system_beside_leaves_the_rest_of_it(
    home: Path,
) -> None:
    """Else `export DUEQ_URL=…`, for curl, would lead `dueq worker` to servers that are none."""
    assert urls_beside(home, {"DUEQ_URL": "http://127.0.0.1:4"})["redis_url"] == BESIDE["redis_url"]
    assert urls_beside(home, {"DUEQ_URL": "http://127.0.0.1:5"}) == {}


def test_no_system_beside_or_a_torn_file_means_the_defaults(tmp_path: Path) -> None:
    assert urls_beside(tmp_path, {}) == {}
    (tmp_path / "urls.json").write_text('{"amqp_url": ')
    assert urls_beside(tmp_path, {}) == {}


def test_a_bad_value_ends_the_process_naming_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DUEQ_LEASE_SECONDS", "soon")
    with pytest.raises(CommandFailed, match="DUEQ_LEASE_SECONDS='soon'") as failure:
        load_settings(tmp_path)
    assert failure.value.code is Exit.USAGE


@pytest.mark.parametrize(
    ("variable", "value", "wrong"),
    [
        ("DUEQ_AMQP_URL", "amqp://me:pass?word@rabbit/", "port"),
        ("DUEQ_AMQP_URL", "amqp://me:7/password@rabbit/", "@"),
        ("DUEQ_MONGO_URL", "mongodb://me:pass@word@db/dueq", "password cannot be told apart"),
        ("DUEQ_REDIS_URL", "rediss//me:password@cache/0", "must start with redis://"),
        ("DUEQ_REDIS_URL", "redis://me:password@/0", "no host"),
    ],
)
def test_a_malformed_url_is_one_line_that_keeps_its_password_to_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, wrong: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(CommandFailed) as failure:
        load_settings(tmp_path)
    text = str(failure.value)
    assert failure.value.code is Exit.USAGE
    assert text.startswith(f"{variable} cannot be used: ")
    assert wrong in text
    assert "\n" not in text
    assert all(secret not in text for secret in ("pass?", "pass@", "word@", ":7", "me:"))


def test_passwords_are_stars_unless_exported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUEQ_REDIS_URL", "redis://me:se'cret@host/0")
    settings = load_settings(home)
    assert masked(settings.redis_url) == "redis://me:***@host/0"
    assert """export DUEQ_REDIS_URL='redis://me:se'"'"'cret@host/0'""" in exports(settings)


def test_a_taken_usual_port_of_a_worker_moves_on_to_the_next_free_one() -> None:
    with bind("worker", "127.0.0.1", None) as first, bind("worker", "127.0.0.1", None) as second:
        assert url_of(first) != url_of(second)
        assert first.getsockname()[1] >= USUAL["worker"]


def test_a_taken_port_that_was_asked_for_is_an_error() -> None:
    with bind("worker", "127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"port {port} .* is taken"):
            bind("worker", "127.0.0.1", port)
