"""Each interleaving that an earlier protocol broke on has a test that forces it and says so."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "holes.md"


def docstrings_of_tests() -> Iterator[str]:
    """Of every test function."""
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:4] == "test":
                yield ast.get_docstring(node) or ""


def test_every_hole_is_named_by_a_test_that_forces_it() -> None:
    holes = set(re.findall(r"^- (H\d+) ", PAGE.read_text(), re.MULTILINE))
    named = {hole for text in docstrings_of_tests() for hole in re.findall(r"\bH\d+\b", text)}
    assert len(holes) >= 27
    assert holes - named == set()
