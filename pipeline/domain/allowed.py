"""What http jobs may reach beside the public internet: the words of `DUEQ_HTTP_ALLOW`, parsed.

The one parser of them: what the configuration lets pass at start is what a worker goes by.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


def parse_allowed(parts: Iterable[str]) -> tuple[tuple[Network, ...], frozenset[str]]:
    """Networks (CIDR or single addresses) and exact host names.

    Raises `ValueError` for a bad CIDR, also one with bits behind its prefix: whoever writes
    `10.1.2.3/8` may have meant one host, and would open sixteen million.
    """
    networks: list[Network] = []
    hosts: set[str] = set()
    for part in parts:
        try:
            networks.append(ip_network(part.strip("[]")))
        except ValueError:
            if "/" in part:
                raise
            hosts.add(part.lower().rstrip("."))
    return tuple(networks), frozenset(hosts)
