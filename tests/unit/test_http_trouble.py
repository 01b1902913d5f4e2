"""What it means that a request got no answer: in words of ours, and whose trouble it is."""

import errno
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from workers.executors.http_connections import ForbiddenTarget
from workers.executors.http_trouble import Trouble, trouble_of

KEY = ConnectionKey("a.example", 443, True, True, None, None, None)


def unconnected(cause: OSError) -> Trouble:
    return trouble_of(aiohttp.ClientConnectorError(KEY, cause))


def test_a_forbidden_address_is_no_trouble_of_the_target_and_never_works() -> None:
    trouble = unconnected(ForbiddenTarget())
    assert (trouble.type, trouble.of_target, trouble.is_retryable) == (
        "forbidden_target", None, False,
    )  # fmt: skip
    assert trouble.message.startswith("http jobs may not reach a.example: ")
    assert "DUEQ_HTTP_ALLOW" in trouble.message


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL])
def test_what_this_machine_lacks_is_no_trouble_of_the_target(number: int) -> None:
    """Or the breaker would stop all jobs of targets that are well."""
    trouble = unconnected(OSError(number, "what is missing"))
    assert (trouble.type, trouble.of_target, trouble.is_retryable) == ("unreachable", None, True)
    assert "what is missing" in trouble.message


def test_who_refuses_a_connection_cannot_be_reached() -> None:
    trouble = unconnected(OSError(errno.ECONNREFUSED, "Connect call failed"))
    assert (trouble.type, trouble.of_target) == ("unreachable", "cannot be reached")
    assert "a.example:443" in trouble.message


def test_a_certificate_that_does_not_hold_is_told_with_its_reason() -> None:
    error: Any = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1006)")
    error.verify_message = "certificate has expired"
    trouble = trouble_of(aiohttp.ClientConnectorCertificateError(KEY, error))
    assert trouble.type == "tls"
    assert trouble.message == (
        "no TLS with a.example:443: its certificate does not hold: certificate has expired"
    )
