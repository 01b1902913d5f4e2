"""What is written on a message that is set aside."""

import pytest

from pipeline.broker.parked import Notes, parked_properties
from pipeline.domain.errors import Flaw, Rejected
from pipeline.domain.properties import read_properties, text_of
from pipeline.ports import Remains
from tests.fakes.clock import START
from tests.fakes.mailbox import FakeMailbox

pytestmark = pytest.mark.unit

BAD = Rejected("invalid", Flaw("/queue", "is none"))


def test_a_name_that_is_too_long_is_cut_between_characters() -> None:
    """Cut within one it is not UTF-8: submitted again the message would be parked for that."""
    remains = Remains("application/json", "ä" * 127 + "/1")
    delivery = FakeMailbox().deliver(b"[]")
    raw = parked_properties(delivery, remains, Notes("p", START, BAD))
    assert text_of(read_properties(raw), "message_id") == "ä" * 126 + "/1"
