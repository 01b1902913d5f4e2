"""The AMQP front door as a person meets it: `amqp-publish`, parked messages, delayed publish."""

import json
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from amqpstorm.channel import Channel
from amqpstorm.message import Message

from pipeline.domain.identity import id_of_key
from tests.broker_worlds import as_stranger
from tests.e2e.pages import page, printed
from tests.e2e.programs import require
from tests.e2e.running import Up, run
from tests.support import eventually


def send(system: Up, body: str, exchange: str = "dueq.jobs", **properties: Any) -> None:
    def publish(channel: Channel) -> None:
        channel.confirm_deliveries()
        channel.basic.publish(body, "job.submit", exchange, properties, mandatory=True)

    as_stranger(str(system.line["amqp"]), publish)


def parked(system: Up, *options: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = system.json("parked", "list", *options)["items"]
    return items


@pytest.fixture(autouse=True)
def nothing_is_parked(system: Up) -> Iterator[None]:
    yield
    assert system.dueq("parked", "drop", "--all", "--yes").returncode == 0


@pytest.fixture
def inbox(system: Up) -> Iterator[str]:
    """A queue of somebody else's."""
    url, name = str(system.line["amqp"]), "inbox-of-the-door"
    as_stranger(url, lambda channel: channel.queue.declare(name))
    yield name
    as_stranger(url, lambda channel: channel.queue.delete(name))


def taken(system: Up, queue: str) -> Message | None:
    def get(channel: Channel) -> Message | None:
        message = channel.basic.get(queue, no_ack=True)
        return message if isinstance(message, Message) else None

    return as_stranger(str(system.line["amqp"]), get)


async def test_a_bad_message_is_parked_mended_and_runs(system: Up) -> None:
    send(system, '{"queue": "a b"}', message_id="mended-1")
    (row,) = await eventually(lambda: parked(system))
    assert (row["code"], row["pointer"], row["message_id"]) == ("invalid", "/queue", "mended-1")
    assert row["body"] == '{"queue": "a b"}'
    assert 0 <= row["age"] < 60

    again = system.dueq("parked", "resubmit", row["id"])
    assert (again.returncode, "stays" in again.stdout) == (1, True)
    assert [each["id"] for each in parked(system)] == [row["id"]]

    mended = system.dueq("parked", "resubmit", "mended-1", "--body", "-", stdin='{"payload": 1}')
    assert mended.returncode == 0, mended.stderr
    assert parked(system) == []
    watched = system.dueq("job", "watch", id_of_key("mended-1"), "--timeout", "30")
    assert watched.returncode == 0


async def test_of_an_array_the_bad_element_is_mended_at_its_place(system: Up) -> None:
    body = json.dumps([{"payload": 0}, {"delay": -1}, {"payload": 2}])
    send(system, body, message_id="array-1")
    (row,) = await eventually(lambda: parked(system))
    assert (row["message_id"], row["pointer"]) == ("array-1/1", "/delay")
    shown = system.json("parked", "show", row["id"])
    assert json.loads(shown["body"]) == {"delay": -1}
    stdin = '{"payload": 1}'
    assert system.dueq("parked", "resubmit", row["id"], "--body", "-", stdin=stdin).returncode == 0
    for number in range(3):
        job_id = id_of_key(f"array-1/{number}")
        assert system.dueq("job", "watch", job_id, "--timeout", "30").returncode == 0
        assert system.json("job", "show", job_id)["payload"] == number


async def test_what_was_submitted_before_a_crash_and_again_after_it_is_one_job(
    system: Up,
) -> None:
    """It had no identity; the one that it is given does not change while it is parked."""
    send(system, '{"queue": "a b"}')
    (row,) = await eventually(lambda: parked(system))
    name = f"parked/{row['id']}"
    send(system, '{"payload": "parked once"}', message_id=name)  # as it went out before the crash
    job_id = id_of_key(name)
    await eventually(lambda: system.get(f"/api/jobs/{job_id}"))
    stdin = '{"payload": "parked once"}'
    assert system.dueq("parked", "resubmit", row["id"], "--body", "-", stdin=stdin).returncode == 0
    assert parked(system) == []
    with urllib.request.urlopen(f"{system.http}/api/jobs?limit=500", timeout=10) as response:
        jobs = json.load(response)["items"]
    assert [job["id"] for job in jobs if job.get("payload") == "parked once"] == [job_id]


async def test_what_names_another_job_stays_until_it_is_mended(system: Up) -> None:
    key = "named-twice"
    assert system.json("job", "submit", "--payload", "1", "--idempotency-key", key)["id"]
    send(system, '{"payload": 2}', message_id=key)
    (row,) = await eventually(lambda: parked(system))
    assert row["code"] == "conflict"
    again = system.dueq("parked", "resubmit", row["id"])
    assert (again.returncode, "stays" in again.stdout) == (1, True)
    assert [each["id"] for each in parked(system)] == [row["id"]]
    stdin = '{"payload": 1}'
    assert system.dueq("parked", "resubmit", key, "--body", "-", stdin=stdin).returncode == 0
    assert parked(system) == []


async def test_an_array_in_an_array_and_an_array_without_jobs_stay(system: Up) -> None:
    send(system, '[[{"name": "nested"}], []]')
    send(system, "[]")
    await eventually(lambda: len(parked(system)) == 3)
    assert system.dueq("parked", "resubmit", "--all").returncode == 1
    bodies = sorted(row["body"] for row in parked(system))
    assert bodies == ["[[]]", '[[{"name":"nested"}]]', "[]"]


@pytest.mark.parametrize(
    ("body", "accepted", "rejected"),
    [('[{"payload": 1}, {"queue": "a b"}, {"payload": 2}]', 2, [(1, "invalid", "/queue")]),
     ('{"delay": -1}', 0, [(0, "invalid", "/delay")]),
     ("{", 0, [(0, "malformed", "")]), ("[]", 0, []), ('{"payload": 1}', 1, [])],
)  # fmt: skip
async def test_who_asks_is_told_also_when_all_of_it_is_parked(
    system: Up, inbox: str, body: str, accepted: int, rejected: list[tuple[int, str, str]]
) -> None:
    send(system, body, reply_to=inbox, correlation_id="c-7")
    message = await eventually(lambda: taken(system, inbox))
    assert message is not None
    assert message.correlation_id == "c-7"
    answer = json.loads(str(message.body))
    assert (answer["accepted"], len(answer["ids"])) == (accepted, accepted)
    told = [(each["index"], each["code"], each["errors"][0]["pointer"])
            for each in answer["rejected"]]  # fmt: skip
    assert told == rejected
    for job_id in answer["ids"]:
        assert system.dueq("job", "watch", job_id, "--timeout", "30").returncode == 0


async def test_parked_messages_are_chosen_by_code_and_dropped(system: Up) -> None:
    for body in ('{"queue": "a b"}', "{", '{"typo": 1}'):
        send(system, body)
    await eventually(lambda: len(parked(system)) == 3)
    assert [row["code"] for row in parked(system, "--code", "invalid")] == ["invalid"] * 2
    refused = system.dueq("parked", "drop", "--code", "invalid")
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert system.dueq("parked", "drop", "--code", "invalid", "--yes").returncode == 0
    assert [row["code"] for row in parked(system)] == ["malformed"]


async def test_a_message_is_mended_in_an_editor(system: Up) -> None:
    send(system, '{"paylaod": 1}')
    (row,) = await eventually(lambda: parked(system))
    editor = "sed -i s/paylaod/payload/"
    ran = run("parked", "resubmit", row["id"], "--edit", folder=system.folder, VISUAL=editor)
    assert ran.returncode == 0, ran.stderr
    assert parked(system) == []


def test_a_command_without_a_choice_and_an_unknown_id_say_so(system: Up) -> None:
    assert system.dueq("parked", "resubmit").returncode == 2
    assert system.dueq("parked", "resubmit", "x", "--all").returncode == 2
    assert system.dueq("parked", "resubmit", "--all", "--edit").returncode == 2
    assert system.dueq("parked", "show", "nobody").returncode == 3


async def test_amqp_publish_sends_a_cloud_event(system: Up) -> None:
    require("amqp-publish")
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed",
             "data": {"payload": "from an event"}}  # fmt: skip
    subprocess.run(
        ["amqp-publish", "--url", str(system.line["amqp"]), "-e", "dueq.jobs", "-r", "job.submit",
         "-C", "application/cloudevents+json", "-p", "-b", json.dumps(event)],
        check=True, timeout=30,
    )  # fmt: skip
    job_id = id_of_key("/shop 1")
    assert await eventually(
        lambda: system.dueq("job", "watch", job_id, "--timeout", "30").returncode == 0
    )
    assert system.json("job", "show", job_id)["result"] == "from an event"


async def test_a_message_is_published_again_when_it_is_due(system: Up, inbox: str) -> None:
    sent = time.monotonic()
    headers = {"x-delay": 4000, "x-routing-key": inbox, "own": [1, "two", {"three": None}]}
    send(system, "later", "dueq.delay", headers=headers, correlation_id="c", message_id="m",
         reply_to=inbox)  # fmt: skip
    (job,) = await eventually(lambda: waiting(system))
    assert job["amqp"]["headers"]["own"] == [{"!int8": 1}, "two", {"three": None}]
    message = await eventually(lambda: taken(system, inbox))
    assert time.monotonic() - sent >= 4
    assert message is not None
    assert message.body == "later"  # and no reply before it: reply_to is for who receives it
    assert dict(message.properties["headers"]) == {"own": [1, "two", {"three": None}]}
    assert (message.correlation_id, message.message_id) == ("c", "m")
    assert system.dueq("job", "watch", job["id"], "--timeout", "10").returncode == 0


async def test_a_delayed_message_can_be_cancelled(system: Up, inbox: str) -> None:
    send(system, "never", "dueq.delay", headers={"x-delay": 60_000, "x-routing-key": inbox})
    (job,) = await eventually(lambda: waiting(system))
    assert system.dueq("job", "cancel", job["id"]).returncode == 0
    assert waiting(system) == []


async def test_a_delayed_message_to_ourselves_is_parked_with_the_reason(system: Up) -> None:
    send(system, "x", "dueq.delay", headers={"x-delay": 1, "x-exchange": "dueq.jobs"})
    (row,) = await eventually(lambda: parked(system))
    assert (row["pointer"], row["exchange"]) == ("/headers/x-exchange", "dueq.delay")


async def test_every_line_of_the_page_on_amqp_works(system: Up) -> None:
    """`amqp-publish` waits for nothing; here each waits a moment before the next line."""
    require("amqp-publish")
    blocks = re.findall(r"```(sh|python)\n(.*?)```", page("amqp"), re.DOTALL)
    lines = "\n".join(
        text if kind == "sh" else f"python - <<'PY'\n{text}PY" for kind, text in blocks
    )
    functions = f"""
        set -o pipefail
        python() {{ {shlex.quote(sys.executable)} "$@"; }}
        amqp-publish() {{ command amqp-publish "$@"; sleep 1; }}
    """
    told = printed(f"{functions}\n{lines}", system.folder)
    assert '"accepted":1' in told
    assert "submitted" in told
    names = [system.json("job", "show", id_of_key(f"/shop o-{n}"))["name"] for n in (17, 18)]
    assert names == ["thank-the-customer"] * 2
    bodies = set()
    for _ in range(2):  # the page cancels the third
        message = await eventually(lambda: taken(system, "reminders"))
        assert message is not None
        bodies.add(message.body)
    assert "drink some water" in bodies


def waiting(system: Up) -> list[dict[str, Any]]:
    url = f"{system.http}/api/jobs?kind=amqp&status=pending&status=queued"
    with urllib.request.urlopen(url, timeout=10) as response:
        items: list[dict[str, Any]] = json.load(response)["items"]
    return items
