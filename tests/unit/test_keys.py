import pytest

from pipeline.queue.keys import EVERY_KEY, LEASE, QUEUES, READY, WORKER, QueueKeys, keys_of

PROMISED = {
    "dueq:queues": "set",
    "dueq:{<queue>}:ready": "zset",
    "dueq:{<queue>}:delayed": "zset",
    "dueq:{<queue>}:priority": "hash",
    "dueq:{<queue>}:leased": "zset",
    "dueq:{<queue>}:lease:<job id>": "string",
    "dueq:worker:<id>": "hash",
    "dueq:{<queue>}:generation": "string",
}
"""What clients in any language rely on."""


def test_the_promised_keys_keep_their_names_and_types() -> None:
    ours = {key.pattern: key.type for key in EVERY_KEY}
    assert PROMISED.items() <= ours.items()


def test_a_key_is_its_pattern_with_the_name_in_it() -> None:
    assert READY.of("mail") == "dueq:{mail}:ready"
    assert WORKER.of("w1") == "dueq:worker:w1"
    assert QUEUES.of("") == "dueq:queues"


def test_a_prefix_ends_where_the_second_name_begins() -> None:
    assert LEASE.of("mail") == "dueq:{mail}:lease:"


@pytest.mark.parametrize("queue", ["default", "A-b_9", "x" * 64])
def test_all_keys_of_a_queue_lie_in_one_slot(queue: str) -> None:
    keys = keys_of(queue)
    for name in QueueKeys.__slots__:
        key = getattr(keys, name)
        assert key.partition("{")[2].partition("}")[0] == queue


def test_every_key_of_a_queue_is_documented() -> None:
    keys = keys_of("q")
    patterns = [key.pattern.replace("<queue>", "q") for key in EVERY_KEY]
    limits = {p for p in patterns if p.startswith(keys.limit_prefix)}
    assert {p.removeprefix(keys.limit_prefix).partition(":")[0] for p in limits} == {
        "own", "of", "waits", "keys", "slots", "claims", "started", "twice", "active", "spent",
    }  # fmt: skip
    for name in set(QueueKeys.__slots__) - {"limit_prefix"}:
        known = [p for p in patterns if p.partition("<")[0] == getattr(keys, name)]
        assert len(known) == 1, name
