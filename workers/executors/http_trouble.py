"""What went wrong when a request got no whole answer, in words of ours, and whose trouble that is.

The words of the client library stay here: they name its classes, and quote what a server has sent.
"""

import errno
import ssl
from dataclasses import dataclass

import aiohttp

from workers.executors.http_connections import ForbiddenTarget
from workers.executors.http_pool import BadBody

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
"""This machine has no file, memory or port left: no other target would have been reached."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """The type and message of the failure. `of_target`: what it says of the target, if anything."""

    type: str
    message: str
    of_target: str | None
    is_retryable: bool = True


def trouble_of(error: aiohttp.ClientError | OSError) -> Trouble:
    """From what the client library raised while it connected, sent or read."""
    match error:
        case aiohttp.ClientConnectorError():
            return _unconnected(error)
        case aiohttp.ClientResponseError():
            return _no_http(error.message)
        case BadBody():
            return _no_http(str(error))
        case aiohttp.ClientPayloadError():
            text = "the connection ended in the middle of the answer"
        case aiohttp.ServerDisconnectedError():
            text = "the connection ended before there was an answer"
        case _:
            text = f"the connection broke: {error}"
    return Trouble("disconnected", text, "hangs up")


def _no_http(message: str) -> Trouble:
    what = message.partition(":")[0]  # what follows is what the server has sent
    return Trouble("bad_answer", f"the answer is no HTTP: {what}", "answers no HTTP")


def _unconnected(error: aiohttp.ClientConnectorError) -> Trouble:
    """A forbidden address says nothing of the target: nothing was sent there."""
    cause, where = error.os_error, f"{error.host}:{error.port}"
    if isinstance(cause, ForbiddenTarget):
        text = f"http jobs may not reach {error.host}: {cause}"
        return Trouble("forbidden_target", text, None, is_retryable=False)
    if isinstance(cause, ssl.SSLError):
        return Trouble("tls", f"no TLS with {where}: {_reason(cause)}", "no TLS")
    of_target = None if cause.errno in _OURS else "cannot be reached"
    return Trouble("unreachable", f"cannot connect to {where}: {cause}", of_target)


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {error.verify_message.rstrip('.')}"
    return (error.reason or str(error)).replace("_", " ").lower()
