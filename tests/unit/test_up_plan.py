"""What `dueq up` runs where: only the front is for others."""

from pathlib import Path

import pytest

from infra.local.servers import Urls
from infra.up.plan import Member, Plan, may_run_commands, members
from pipeline.config import Settings

URLS = Urls("amqp://127.0.0.1:1/", "mongodb://127.0.0.1:2/dueq", "redis://127.0.0.1:3/0")
EVERYWHERE = Settings(http_host="0.0.0.0")


def planned(folder: Path, settings: Settings, gateways: int) -> dict[str, Member]:
    """Every process by its name."""
    plan = Plan(data=folder, port=0, gateways=gateways)
    found = members(plan, settings, URLS, "http://127.0.0.1:4")
    return {member.name: member for member in found}


def hosts(found: dict[str, Member]) -> dict[str, str]:
    """Where each binds."""
    return {name: member.environment["DUEQ_HTTP_HOST"] for name, member in found.items()}


def test_a_lone_gateway_is_the_front_and_all_else_stays_on_this_machine(tmp_path: Path) -> None:
    found = planned(tmp_path, EVERYWHERE, gateways=1)
    at = hosts(found)
    assert at.pop("gateway-1") == "0.0.0.0"
    assert set(at) == {"ingest-1", "watcher-1", "worker-1"}
    assert set(at.values()) == {"127.0.0.1"}
    assert found["gateway-1"].url == "http://127.0.0.1:4"


def test_behind_a_balancer_no_process_is_for_others(tmp_path: Path) -> None:
    found = planned(tmp_path, EVERYWHERE, gateways=2)
    assert set(hosts(found).values()) == {"127.0.0.1"}


@pytest.mark.parametrize("gateways", [1, 2])
def test_every_gateway_knows_what_clients_come_in_by(tmp_path: Path, gateways: int) -> None:
    """Else it refused the Host that a client of another machine has to send."""
    found = planned(tmp_path, EVERYWHERE, gateways)
    assert found[f"gateway-{gateways}"].environment["DUEQ_HTTP_FRONT_HOST"] == "0.0.0.0"


def test_the_address_of_a_member_is_where_this_machine_reaches_it(tmp_path: Path) -> None:
    named = planned(tmp_path, Settings(http_host="192.0.2.7"), gateways=1)
    assert named["gateway-1"].url == "http://192.0.2.7:4"
    six = planned(tmp_path, Settings(http_host="::"), gateways=1)
    assert six["gateway-1"].url == "http://[::1]:4"


@pytest.mark.parametrize(
    "settings", [EVERYWHERE, Settings(http_front_host="proxy.example")], ids=["bound", "proxied"]
)
def test_commands_run_only_where_nobody_else_can_submit_them(settings: Settings) -> None:
    assert may_run_commands(Settings(), URLS)
    assert not may_run_commands(settings, URLS)
