"""Where http jobs may go, decided on addresses: names and their spellings prove nothing.

Allowed is the public internet, and what the operator lists. Python's `is_global` is not enough: in
3.11 it says yes to multicast, to 6to4 and NAT64 addresses that lead to private ones, to site-local
ones, and to Azure's metadata service. So an address that contains another is judged by that one
too, and the rest is listed here.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from yarl import URL

from pipeline.domain.allowed import Network, parse_allowed

Address = IPv4Address | IPv6Address

_METADATA: frozenset[Address] = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "169.254.42.42",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "fe80::a9fe:a9fe",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
        ),
    )
)
"""Credentials of the machine for whoever asks: opened by their own address only, neither by a range
nor by a name."""

_NEVER_PUBLIC: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "100.64.0.0/10",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "fec0::/10",
            "3fff::/20",
            "5f00::/16",
            "64:ff9b:1::/48",
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_V4_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class AllowList:
    """What the operator opened: networks (CIDR or single addresses) and exact host names."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, parts: Iterable[str]) -> "AllowList":
        """From the words of `DUEQ_HTTP_ALLOW`; raises `ValueError` for a bad CIDR."""
        networks, hosts = parse_allowed(parts)
        return cls(networks, frozenset(map(_canonical, hosts)))

    def allows_host(self, host: str) -> bool:
        """Whether this host name is listed: then it `allows_named` what it resolves to."""
        return bool(self.hosts) and _canonical(host) in self.hosts

    def allows_named(self, address: Address) -> bool:
        """Whether a connection to this address of a listed host may be opened: not to metadata.

        Whoever answers for the name need not be the one who listed it.
        """
        metadata = {address, *_unwrapped(address)} & _METADATA
        return not metadata or self._names(address) or all(map(self._names, metadata))

    def allows(self, address: Address) -> bool:
        """Whether a connection to this address may be opened."""
        return self.allows_named(address) and (
            self._lists(address) or all(map(self._is_open, _unwrapped(address)))
        )

    def _is_open(self, address: Address) -> bool:
        return self._lists(address) or _is_public(address)

    def _lists(self, address: Address) -> bool:
        return any(address in network for network in self.networks)

    def _names(self, address: Address) -> bool:
        """Whether it is listed by itself, not by a range."""
        return any(n.num_addresses == 1 and address in n for n in self.networks)


def _canonical(host: str) -> str:
    """As it goes to the resolver: a name may be listed and asked for in Unicode or in Punycode."""
    with suppress(ValueError):  # it is no name that anything resolves
        host = URL.build(scheme="http", host=host).raw_host or host
    return host.lower().rstrip(".")


def _unwrapped(address: Address) -> tuple[Address, ...]:
    """The addresses a packet to this one may end at: itself, or those it contains."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64 or (address in _V4_COMPATIBLE and int(address) > 1):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,)


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _NEVER_PUBLIC)
    )


def judged(sockaddr_host: str) -> Address:
    """The address in a socket address, without the zone of a link-local one."""
    return ip_address(sockaddr_host.partition("%")[0])
