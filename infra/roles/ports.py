"""The port of a process: the one it was given, or the usual one of its role, or the next free."""

import errno
import socket
from ipaddress import ip_address

from infra.exits import CommandFailed, Exit

USUAL = {"gateway": 8080, "ingest": 8081, "watcher": 9001, "worker": 7001}
_NEXT = 100


def bind(role: str, host: str, given: int | None) -> socket.socket:
    """A listening socket. A port that was asked for, and a gateway's, is that one or an error."""
    if given is not None or role == "gateway":
        return _bind_exactly(host, USUAL[role] if given is None else given)
    for port in range(USUAL[role], USUAL[role] + _NEXT):
        bound = try_bind(host, port)
        if bound is not None:
            return bound
    raise CommandFailed(Exit.FAILED, f"no free port from {USUAL[role]} on: set DUEQ_HTTP_PORT")


def try_bind(host: str, port: int) -> socket.socket | None:
    """A listening socket, or None if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(1024)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            return None
        why = f"DUEQ_HTTP_HOST={host!r}, port {port} cannot be used: {error.strerror or error}"
        raise CommandFailed(Exit.FAILED, why) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """Where a client on this machine finds it."""
    host, port = bound.getsockname()[:2]
    return url_at(host, port)


def url_at(host: str, port: int) -> str:
    """Where a client on this machine finds what binds to this address."""
    host = reached_at(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reached_at(host: str) -> str:
    """An address of this machine for one that may mean all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def is_loopback(host: str | None) -> bool:
    """Whether a host can only mean this machine."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _bind_exactly(host: str, port: int) -> socket.socket:
    bound = try_bind(host, port)
    if bound is None:
        text = f"port {port} on {host} is taken: set DUEQ_HTTP_PORT to another (0: any free one)"
        raise CommandFailed(Exit.FAILED, text)
    return bound
