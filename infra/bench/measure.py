"""The words for what can be measured."""

from enum import StrEnum


class Measure(StrEnum):
    """What `--only` takes."""

    SINGLE = "single"
    BATCH = "batch"
    AMQP = "amqp"
    LATENCY = "latency"
    PUNCTUALITY = "punctuality"
