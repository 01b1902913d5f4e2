"""Where http jobs may go, address by address."""

import re
import socket
from contextlib import nullcontext
from ipaddress import ip_address

import pytest

from pipeline.config import Settings
from workers.executors.addresses import AllowList, judged

NOTHING = AllowList()

REFUSED = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",  # carrier NAT: neither private nor global to Python
    "169.254.1.1",
    "169.254.169.254",  # metadata
    "168.63.129.16",  # Azure's, global to Python
    "192.0.2.1",
    "192.0.0.192",  # Oracle's metadata, global to Python
    "100.100.100.200",  # Alibaba's
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",  # multicast, global to Python
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible, global to Python
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1, global to Python
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1, global to Python
    "2002:a00:1::1",
    "2001:0:7f00:1::1",  # Teredo, server 127.0.0.1
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo, client 127.0.0.1
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",  # site-local, global to Python
    "ff02::1",
    "5f00::1",
    "3fff::1",  # documentation, global to Python 3.11
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_the_public_internet_is_refused(address: str) -> None:
    assert not NOTHING.allows(ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_the_public_internet_is_allowed(address: str) -> None:
    assert NOTHING.allows(ip_address(address))


@pytest.mark.parametrize("spelling", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1"])
def test_a_strange_spelling_of_loopback_is_refused_by_what_it_resolves_to(spelling: str) -> None:
    for *_, address in socket.getaddrinfo(spelling, 80, type=socket.SOCK_STREAM):
        assert not NOTHING.allows(judged(str(address[0])))


@pytest.mark.parametrize(
    ("part", "address", "allowed"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "64:ff9b::a01:203", True),
        ("10.0.0.0/8", "192.168.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("::1/128", "::1", True),
        ("::1", "::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("169.254.0.0/16", "169.254.1.1", True),
        ("169.254.0.0/16", "169.254.169.254", False),  # a range never opens the metadata service
        ("0.0.0.0/0", "::ffff:169.254.169.254", False),
        ("::/0", "::ffff:169.254.169.254", False),
        ("::/0", "2002:a9fe:a9fe::1", False),
        ("64:ff9b::/96", "64:ff9b::a9fe:a9fe", False),
        ("fe80::/10", "fe80::a9fe:a9fe%eth0", False),
        ("169.254.169.254/32", "169.254.169.254", True),
        ("169.254.169.254", "::ffff:169.254.169.254", True),
        ("::ffff:169.254.169.254", "::ffff:169.254.169.254", True),
    ],
)
def test_a_listed_network_is_opened_and_nothing_beside_it(
    part: str, address: str, *, allowed: bool
) -> None:
    assert AllowList.parse([part]).allows(judged(address)) is allowed


def test_a_listed_host_is_that_name_exactly() -> None:
    allow = AllowList.parse(["Intranet.example", "10.0.0.0/8"])
    assert allow.allows_host("intranet.EXAMPLE.")
    assert not allow.allows_host("evil-intranet.example")
    assert not allow.allows_host("sub.intranet.example")


@pytest.mark.parametrize("listed", ["münchen.example", "xn--mnchen-3ya.example"])
def test_a_name_in_unicode_is_the_same_in_punycode(listed: str) -> None:
    allow = AllowList.parse([listed])
    assert allow.allows_host("xn--mnchen-3ya.example")
    assert allow.allows_host("München.example")
    assert not allow.allows_host("munchen.example")


def test_a_listed_host_leads_anywhere_but_to_the_metadata_service() -> None:
    """Whoever answers for its name need not be the one who listed it."""
    allow = AllowList.parse(["intranet.example"])
    for address in ("127.0.0.1", "10.0.0.1", "fd12::1", "1.1.1.1"):
        assert allow.allows_named(ip_address(address))
    for address in ("169.254.169.254", "::ffff:a9fe:a9fe", "fd00:ec2::254", "168.63.129.16"):
        assert not allow.allows_named(ip_address(address))
    itself = AllowList.parse(["metadata.google.internal", "169.254.169.254"])
    assert itself.allows_named(ip_address("169.254.169.254"))


@pytest.mark.parametrize(
    "part",
    ["10.1.2.3/8", "10.0.0.0/99", "example.org/24", "[fe80::/10]", "localhost:8080", "[::1]:80",
     "http://intranet.example", "http://intranet.example/", "*.example", ".example", "a..example",
     "a b", "user@host", "10.0.0.256", "10.0.0", "10.*", "10.0.0.1-9", "a?b"],
)  # fmt: skip
def test_the_configuration_lets_pass_what_a_worker_can_use_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A network with bits behind its prefix may have been meant as one host; and what is neither a
    network nor a host would open nothing, without a word."""
    monkeypatch.setenv("DUEQ_HTTP_ALLOW", part)
    is_usable = part == "[fe80::/10]"
    for parse in (Settings, lambda: AllowList.parse([part])):
        with nullcontext() if is_usable else pytest.raises(ValueError, match=re.escape(part)):
            parse()


def test_a_network_that_is_none_is_refused_when_it_is_read() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        AllowList.parse(["10.0.0.0/99"])
