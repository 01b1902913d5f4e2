"""Which jobs are meant: the same words in the parameters of a list and in a call on many."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.domain.job import Instant, Kind
from pipeline.domain.states import State
from pipeline.ports import JobFilter

Status = Literal["pending", "queued", "running", "succeeded", "dead", "cancelled", "failed"]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class JobQuery(BaseModel):
    """What jobs may be narrowed by; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Annotated[
        list[Status],
        BeforeValidator(_as_list),
        Field(description="May repeat; `failed` is another word for `dead`."),
    ] = []
    queue: str | None = None
    kind: Kind | None = None
    name: str | None = None
    tag: str | None = None
    schedule_id: str | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    q: Annotated[str | None, Field(description="The start of the name.")] = None

    def filter(self) -> JobFilter:
        """The same, in the words of the store."""
        return JobFilter(
            states=frozenset(State("dead" if word == "failed" else word) for word in self.status),
            queue=self.queue,
            kind=self.kind,
            name=self.name,
            tag=self.tag,
            schedule_id=self.schedule_id,
            created_after=self.created_after,
            created_before=self.created_before,
            q=self.q or None,
        )
