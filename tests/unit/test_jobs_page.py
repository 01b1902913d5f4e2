"""The page on submitting jobs names every field there is, with its default."""

import re
from pathlib import Path
from typing import Any

from pipeline.domain.job import JobSpec, Kind
from pipeline.domain.retry import RetryPolicy

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "jobs.md"
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE.read_text(), re.MULTILINE))
WORK = {*Kind, "payload"}
"""They have pages of their own."""


def test_every_field_of_a_job_has_a_row_with_its_default() -> None:
    spec = JobSpec().model_dump(mode="json", exclude=WORK)
    told = {name: as_told(default) for name, default in spec.items()}
    told |= {name: as_told(default) for name, default in spec["retry"].items()}
    assert told | {"retry": f"{RetryPolicy().max_attempts} attempts"} == ROWS


def as_told(default: Any) -> str:
    """As a row has it."""
    if default is None:
        return "none"
    return f"{default:g}" if isinstance(default, int | float) else f"`{default}`"
