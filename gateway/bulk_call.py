"""What a call on many jobs asks for. An empty filter has to be meant: a slip cancels nothing."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from gateway.job_query import JobQuery
from pipeline.ports import JobFilter

_NOTHING_NAMED = JobFilter()


class BulkCall(BaseModel):
    """Which jobs, how many at most, and whether to do it or only to count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filter: JobQuery = JobQuery()
    all: Annotated[bool, Strict(), Field(description="Without a filter: really every job.")] = False
    dry_run: Annotated[bool, Strict()] = False
    limit: Annotated[int, Strict(), Field(ge=1)] = 10_000

    @model_validator(mode="after")
    def _means_what_it_says(self) -> Self:
        """A misspelt filter is an error of its own; an empty one must not be a slip."""
        is_empty = self.filter.filter() == _NOTHING_NAMED
        if is_empty and not self.all:
            raise ValueError('an empty filter is every job: say so with "all": true')
        if self.all and not is_empty:
            raise ValueError('"all" and a filter exclude each other')
        return self
