"""Documents as bytes, each encoded alone: one that can never be stored spares the others (R3)."""

from bson import encode
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from pipeline.store.connect import Document

MAX_DOCUMENT = 15 * 1024 * 1024
"""Bytes; a little less than MongoDB takes, for the fields that a job gets later."""


class Unstorable(ValueError):
    """It can never be stored; the text says why."""


def encoded(document: Document) -> RawBSONDocument:
    """Its bytes; raises `Unstorable`."""
    try:
        data = encode(document)
    except (BSONError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise Unstorable(f"it is no BSON: {type(error).__name__}") from None
    if len(data) > MAX_DOCUMENT:
        raise Unstorable(f"it has {len(data)} bytes")
    return RawBSONDocument(data)
