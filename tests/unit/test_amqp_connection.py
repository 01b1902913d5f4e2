"""How long a connection to a broker may take to go: `pipeline.broker.connection`."""

import pytest

from pipeline.broker.connection import CALL_SECONDS, GOODBYE_SECONDS, _Connection

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "seconds"), [("amqps://broker/", GOODBYE_SECONDS), ("amqp://broker/", None)]
)
async def test_a_broker_that_hangs_is_not_waited_for_to_end_its_tls(
    url: str, seconds: float | None
) -> None:
    """Python's own half a minute would come on top of every call."""
    assert GOODBYE_SECONDS < CALL_SECONDS
    assert _Connection(url).kwargs.get("ssl_shutdown_timeout") == seconds
