"""What Redis Cluster and a reader of the scripts rely on."""

import re
from pathlib import Path

import pytest

from pipeline.domain.errors import DueQError
from pipeline.queue import scripts
from pipeline.queue.scripts import Script
from pipeline.queue.server import ServerFacts, UnfitServer

FOLDER = Path(scripts.__file__).parent / "lua"
FILES = sorted(FOLDER.glob("*.lua"))
SHARED = {
    "prelude", "plain", "limits", "line", "twice", "verdict", "judge", "write_down", "admit",
    "started", "seats", "ended", "recall", "reorder", "moves", "arrive", "direct", "place",
    "take", "room", "promote", "settle_up", "hold", "let_go", "refund", "running", "wrong",
}  # fmt: skip
OPERATIONS = [path for path in FILES if path.stem not in SHARED]


@pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.stem)
def test_a_script_says_what_it_is_given_and_answers(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("-- ")
    assert "\n-- KEYS   1 " in text
    assert "\n-- Reply  " in text
    assert ("\n-- ARGV   " in text) == ("ARGV" in re.sub("--.*", "", text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_script_can_be_read_at_a_glance(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_script_names_no_key_of_its_own(path: Path) -> None:
    assert "dueq:" not in re.sub("--.*", "", path.read_text())


def test_a_lease_defines_what_it_needs_seldom_only_when_it_needs_it() -> None:
    whole = scripts.LEASE_LIMITED.text
    seldom = r"^local function (\w+)\(\.\.\.\)\n.*?^return \1\(\.\.\.\)\nend\n"
    always = re.sub(seldom, "", whole, flags=re.MULTILINE | re.DOTALL)
    for name in ("seat", "settle", "leave", "arrive", "promote"):
        assert f"local function {name}(" in whole
        assert f"local function {name}(" not in always


def test_every_script_file_is_loaded() -> None:
    loaded = {value.name for value in vars(scripts).values() if isinstance(value, Script)}
    assert loaded == {path.stem for path in OPERATIONS}


def test_a_redis_that_may_evict_is_refused_with_the_line_that_mends_it() -> None:
    facts = ServerFacts("7.0.15", "allkeys-lru")
    with pytest.raises(UnfitServer, match="CONFIG SET maxmemory-policy noeviction") as refused:
        facts.require_noeviction()
    assert isinstance(refused.value, DueQError)
    ServerFacts("7.0.15", "noeviction").require_noeviction()
