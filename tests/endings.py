"""How attempts end, as tests expect it: told with the ending that came instead."""

from pipeline.domain.execution import Ending, Failed, Succeeded


def failure(ending: Ending) -> Failed:
    """It failed."""
    assert isinstance(ending, Failed), ending
    return ending


def success(ending: Ending) -> Succeeded:
    """It succeeded."""
    assert isinstance(ending, Succeeded), ending
    return ending
