"""What workers over HTTP send: the shapes of their bodies and of their requests for work."""

from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import to_json

from gateway.path_id import canonical
from pipeline.domain.body import flaws_of, read_json
from pipeline.domain.errors import Flaw, NotFound, Rejected
from pipeline.domain.execution import Ending, ErrorInfo, Failed, Released, Succeeded, TimedOut
from pipeline.domain.queue_share import SHARE, weights_of
from pipeline.ports import Attempt

WORKER_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
RESULT_BYTES = 64 * 1024
LOG_CHARS = 64 * 1024
_CHARS = 4096

Word = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
Text = Annotated[str, Field(max_length=_CHARS)]
Share = Annotated[str, Field(json_schema_extra={"pattern": SHARE})]
Number = Annotated[int, Field(ge=1, lt=2**63)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Body = TypeVar("Body", bound=_Body)


def read_call(data: bytes, shape: type[Body]) -> Body:
    """The body as this shape; raises `Rejected` with every flaw."""
    value = read_json(data)
    if not isinstance(value, dict):
        raise Rejected("invalid", Flaw("", "must be a JSON object"))
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise Rejected("invalid", *flaws_of(error, value)) from None


class RegisterCall(_Body):
    """Who it is. `id`: its own, different for every start of it; unless given, one is made."""

    id: Annotated[str, Field(pattern=WORKER_ID)] | None = None
    queues: Annotated[list[Share], Field(min_length=1, max_length=1000)] = ["default"]
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 1
    host: Annotated[str, Field(max_length=255)] = ""
    pid: Annotated[int, Field(ge=0, lt=2**31)] = 0
    version: Annotated[str, Field(max_length=64)] = ""

    @field_validator("queues")
    @classmethod
    def _queues_parse(cls, value: list[str]) -> list[str]:
        weights_of(value)
        return value


class WorkQuery(BaseModel):
    """A request for work. A misspelt `request` would cost a job when an answer is lost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wait: Annotated[float, Field(ge=0, le=60, description="Seconds.")] = 20.0
    request: Word | None = None


class HeldJob(_Body):
    """An attempt that the worker runs, as `next` has named it."""

    id: Word
    attempt: Number
    lease: Word

    def named(self) -> Attempt:
        """As the store names it, however this worker spells UUIDs."""
        with suppress(NotFound):
            return Attempt(canonical(self.id, "job"), self.attempt, self.lease)
        return Attempt(self.id, self.attempt, self.lease)  # there is no such job


class HeartbeatCall(_Body):
    """All that it runs: what is not named here is not kept."""

    worker: Annotated[str, Field(pattern=WORKER_ID)]
    jobs: Annotated[list[HeldJob], Field(max_length=10_000)] = []


class LogCall(_Body):
    """What it has written since the last time, and how much of the work is done, from 0 to 1."""

    attempt: Number
    lease: Word
    text: Annotated[str, Field(max_length=LOG_CHARS)] = ""
    progress: Annotated[float, Field(ge=0, le=1)] | None = None
    note: Annotated[str, Field(max_length=500)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.note is not None and self.progress is None:
            raise ValueError("`note` goes with `progress`")
        return self


class ErrorCall(_Body):
    """What went wrong."""

    type: Annotated[str, Field(min_length=1, max_length=128)] = "failed"
    message: Text
    detail: Annotated[str, Field(max_length=LOG_CHARS)] | None = None

    def info(self) -> ErrorInfo:
        """As it is recorded."""
        return ErrorInfo(self.type, self.message, self.detail)


class ResultCall(_Body):
    """How the attempt ended. `result` goes with `succeeded`, the rest with a failure."""

    attempt: Number
    lease: Word
    outcome: Literal["succeeded", "failed", "timed_out", "released"]
    result: Any = None
    error: ErrorCall | None = None
    retryable: bool = True
    retry_after: Annotated[float, Field(ge=0, le=31_536_000)] | None = None

    @field_validator("result")
    @classmethod
    def _small(cls, value: Any) -> Any:
        if (size := len(to_json(value))) > RESULT_BYTES:
            raise ValueError(f"has {size} bytes of JSON, more than {RESULT_BYTES}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = self.model_fields_set
        if "result" in given and self.outcome != "succeeded":
            raise ValueError("`result` goes with the outcome `succeeded`")
        if self.outcome == "failed" and self.error is None:
            raise ValueError("the outcome `failed` needs an `error`")
        if self.error is not None and self.outcome not in ("failed", "timed_out"):
            raise ValueError("`error` goes with the outcomes `failed` and `timed_out`")
        if given & {"retryable", "retry_after"} and self.outcome != "failed":
            raise ValueError("`retryable` and `retry_after` go with the outcome `failed`")
        return self

    def ending(self, report: dict[str, Any]) -> Ending:
        """What is recorded, with what the attempt has told."""
        match self.outcome:
            case "succeeded":
                return Succeeded(self.result, report)
            case "timed_out":
                text = ErrorInfo("timeout", "the worker stopped it: it took too long")
                return TimedOut(self.error.info() if self.error else text, report)
            case "released":
                return Released()
            case "failed":
                assert self.error is not None
                after = None if self.retry_after is None else timedelta(seconds=self.retry_after)
                return Failed(self.error.info(), self.retryable, after, report)
