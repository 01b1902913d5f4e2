"""Where http jobs may go, decided on addresses: names and their spellings prove nothing.

Allowed is the public internet, and what the operator lists. Python's `is_global` is not enough: in
3.11 it says yes to multicast, to 6to4 and NAT64 addresses that lead to private ones, to site-local
ones, and to Azure's metadata service. So an address that contains another is judged by that one
too, and the rest is listed here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from pipeline.domain.allowed import Network, parse_allowed

Address = IPv4Address | IPv6Address

_METADATA: frozenset[Address] = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "fd00:ec2::254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
        ),
    )
)
"""Credentials of the machine for whoever asks: opened by their own address only, not by a range."""

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
        return cls(*parse_allowed(parts))

    def allows_host(self, host: str) -> bool:
        """Whether this host name is listed: then it may resolve to anything."""
        return host.lower().rstrip(".") in self.hosts

    def allows(self, address: Address) -> bool:
        """Whether a connection to this address may be opened."""
        return self._lists(address) or all(map(self._is_open, _unwrapped(address)))

    def _is_open(self, address: Address) -> bool:
        return self._lists(address) or _is_public(address)

    def _lists(self, address: Address) -> bool:
        networks = (network for network in self.networks if address in network)
        if address in _METADATA:
            return any(network.num_addresses == 1 for network in networks)
        return any(networks)


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
        and address not in _METADATA
        and not any(address in network for network in _NEVER_PUBLIC)
    )


def judged(sockaddr_host: str) -> Address:
    """The address in a socket address, without the zone of a link-local one."""
    return ip_address(sockaddr_host.partition("%")[0])
