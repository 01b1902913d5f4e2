"""What http jobs may reach beside the public internet: the words of `DUEQ_HTTP_ALLOW`, parsed.

The one parser of them: what the configuration lets pass at start is what a worker goes by.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network
_LABEL = r"[^\s.:/\\@?#*%\[\]]+"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_RULES = "a host is its exact name, without scheme, port or wildcard, and stands for all its ports"


def parse_allowed(parts: Iterable[str]) -> tuple[tuple[Network, ...], frozenset[str]]:
    """Networks (CIDR or single addresses) and exact host names.

    Raises `ValueError` for a bad CIDR, also one with bits behind its prefix: whoever writes
    `10.1.2.3/8` may have meant one host, and would open sixteen million. And for what no host is
    called: `host:8080` or `*.example` would open nothing, and nobody would be told.
    """
    networks: list[Network] = []
    hosts: set[str] = set()
    for part in parts:
        try:
            networks.append(ip_network(part.strip("[]")))
        except ValueError:
            if "/" in part and "://" not in part:
                raise
            hosts.add(_host(part))
    return tuple(networks), frozenset(hosts)


def _host(part: str) -> str:
    """In lower case; its last label has a letter, or it is an address that went wrong."""
    name = part.lower().rstrip(".")
    if not _NAME.fullmatch(name) or not any(map(str.isalpha, name.rpartition(".")[2])):
        raise ValueError(f"{part!r} is no network and no host: {_RULES}")
    return name
