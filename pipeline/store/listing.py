"""Lists of jobs, newest first, from a million of them: the price of a page is known beforehand.

A filter that an index holds in the order of the list costs what the page holds. Any other is looked
for in steps, in the order of the list, along the index that holds the fewest candidates. Where all
of them hold many, and nearly no job has all that is asked for, the page ends when its time is up,
with a cursor that goes on where the search stopped: it is short and right, and MongoDB was not kept
busy for it.

A cursor is a place in the order (created_at, id). Neither ever changes, so jobs that are added or
that move meanwhile shift nothing: no job is seen twice, none that was there is left out. Several
states lie in several indexes, which are read one after the other; a job passes from one to another
in less time than that (H9), so all of a page is read as it was at one instant. Every read names its
index: MongoDB's own choice would depend on what it was asked before.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import pymongo
from pymongo.errors import PyMongoError

from pipeline.domain.errors import Unavailable, UnknownOutcome
from pipeline.domain.job import FIRST_INSTANT
from pipeline.domain.states import VISIBLE_STATES, State
from pipeline.ports import Clock, JobFilter, JobIds, Page, Position
from pipeline.store import documents
from pipeline.store.connect import Database, Document, Session, translated
from pipeline.store.job_query import Source, condition_of, sources_for, span

_ORDER = [("created_at", -1), ("_id", -1)]
_FIRST_STEP, _QUICK_STEP_SECONDS = 200, 0.01
"""Documents; a step that was quick is followed by one twice as long. Documents of the same time lie
together and cost 5 µs, those of a rare kind lie far apart and cost up to 200 µs."""
_FEW, _FEW_TO_FETCH = 10_000, 500
"""What an index holds up to this number is sorted: by its keys alone, or as whole documents."""
_FIRST_SECONDS, _SEARCH_SECONDS = 0.01, 0.035
"""After the first another index is tried; after the second no further step is begun."""
_PATIENCE_SECONDS = 2.0
"""A page that takes longer is given up, on the server too."""
_PLACE = {"created_at": 1}
_MOST_FIRST = (
    State.SUCCEEDED, State.CANCELLED, State.DEAD, State.PENDING, State.QUEUED, State.RUNNING,
)  # fmt: skip
"""The states of a list of several: what is usually many first, so that the page is soon full and
the rare ones are not searched for beyond it."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Documents in order. Behind `seen_to` nothing was looked at; None: there is nothing there."""

    documents: Sequence[Document]
    seen_to: Position | None = None


class Listing:
    """Every list of `jobs`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._listed = database.jobs
        self._listing_clock = clock

    async def list(self, wanted: JobFilter, limit: int, after: Position | None) -> Page:
        """Newest first by (created_at, id)."""
        with _patient():
            found = await self._page(wanted, limit, after, None)
        return Page([documents.to_job(each) for each in found.documents], found.seen_to)

    async def list_ids(self, wanted: JobFilter, limit: int, after: Position | None) -> JobIds:
        """As `list`, without reading what the jobs hold."""
        with _patient():
            found = await self._page(wanted, limit, after, _PLACE)
        return JobIds([each["_id"] for each in found.documents], found.seen_to)

    async def _page(
        self, wanted: JobFilter, limit: int, after: Position | None, fields: Document | None
    ) -> _Found:
        """States lie in different indexes: each is a list of its own, and they are merged."""
        if wanted.states >= VISIBLE_STATES:
            wanted = replace(wanted, states=frozenset())
        search = _Search(wanted, limit, after, fields, _SEARCH_SECONDS)
        if len(wanted.states) <= 1:
            return await self._search(search)
        async with await self._listed.database.client.start_session(snapshot=True) as session:
            parts: list[_Found] = []
            for state in filter(wanted.states.__contains__, _MOST_FIRST):
                part = search.of_one(state, session)
                part.stop_at(_seen_to(parts))
                parts.append(await self._search(part))
        return _merged(parts, limit)

    async def _search(self, search: "_Search") -> _Found:
        main, *others = search.sources
        nothing = _Found([], search.newest)
        if search.is_all_of(main):
            return await self._all_of(main, search, nothing)
        found = await self._steps(main, search, nothing, _FIRST_SECONDS)
        if search.is_done(found):
            return search.cut(found)
        better = await self._with_few(others, search)
        if better is None:
            return search.cut(await self._steps(main, search, found, search.seconds))
        if better.in_order:
            return search.cut(await self._steps(better, search, found, search.seconds))
        return await self._all_of(better, search, found)

    async def _with_few(self, sources: Sequence[Source], search: "_Search") -> Source | None:
        """The one that holds the fewest, if that is few enough."""
        held = await self._held_by_each(sources, search)
        few = [
            (number, place)
            for place, (number, source) in enumerate(zip(held, sources, strict=True))
            if number < search.few_of(source)
        ]
        return sources[min(few)[1]] if few else None

    async def _held_by_each(self, sources: Sequence[Source], search: "_Search") -> Sequence[int]:
        """At once, unless they share a session, which is for one call at a time."""
        if search.session is None:
            return await asyncio.gather(*(self._held(source, search) for source in sources))
        return [await self._held(source, search) for source in sources]

    async def _held(self, source: Source, search: "_Search") -> int:
        return await self._listed.count_documents(
            source.condition,
            limit=search.few_of(source),
            hint=source.index,
            session=search.session,
        )

    async def _steps(
        self, source: Source, search: "_Search", found: _Found, seconds: float
    ) -> _Found:
        """Step by step, until the page is full, the end is reached or the time is up."""
        began = self._listing_clock.monotonic()
        length, now = _FIRST_STEP, began
        while True:
            step = await self._step(source, search, found, length)
            found = _Found([*found.documents, *step.documents], step.seen_to)
            before, now = now, self._listing_clock.monotonic()
            if search.is_done(found) or now - began > seconds:
                return found
            if now - before < _QUICK_STEP_SECONDS:
                length *= 2

    async def _step(self, source: Source, search: "_Search", found: _Found, length: int) -> _Found:
        """Those of the next `length` documents that have all that is asked for."""
        newest = found.seen_to
        whole = span(newest, search.oldest)
        if whole is None:
            return _Found([])
        last = await self._last_of(source, whole, length, search)
        part = span(newest, last or search.oldest)
        query = {**source.condition, **search.condition, **(part or whole)}
        missing = search.limit + 1 - len(found.documents)
        jobs = await self._find(query, source.index, missing, search)
        # `last` itself belongs to this step: the next one begins strictly behind it.
        return _Found(jobs, last)

    async def _last_of(
        self, source: Source, left: Document, length: int, search: "_Search"
    ) -> Position | None:
        """The place where a step ends, told by the index alone; None at the end of the list."""
        query = {**source.condition, **left}
        found = self._listed.find(query, _PLACE, hint=source.index, session=search.session)
        last = await found.sort(_ORDER).skip(length - 1).limit(1).to_list(None)
        return _place(last[0]) if last else None

    async def _all_of(self, source: Source, search: "_Search", found: _Found) -> _Found:
        """The rest by one index alone: in its order, or sorted."""
        left = span(found.seen_to, search.oldest)
        if left is None:
            return _Found(found.documents)
        query = {**source.condition, **search.condition, **left}
        missing = search.limit + 1 - len(found.documents)
        jobs = await self._find(query, source.index, missing, search)
        return search.cut(_Found([*found.documents, *jobs]))

    async def _find(
        self, query: Document, index: str, limit: int, search: "_Search"
    ) -> Sequence[Document]:
        found = self._listed.find(
            query, search.fields, hint=index, batch_size=limit + 1, session=search.session
        )
        return await found.sort(_ORDER).limit(limit).to_list(None)


class _Search:
    """What is asked for, of one state or of whatever state.

    The list begins strictly after `newest` (None: at the newest there is) and ends with `oldest`.
    """

    def __init__(
        self,
        wanted: JobFilter,
        limit: int,
        after: Position | None,
        fields: Document | None,
        seconds: float,
        session: Session | None = None,
    ) -> None:
        self._wanted = wanted
        self._after = after
        self.limit = limit
        self.fields = fields
        self.seconds = seconds
        self.session = session
        self.condition = condition_of(wanted)
        self.sources = sources_for(wanted)
        self.oldest: Position = (wanted.created_after or FIRST_INSTANT, "")
        before = wanted.created_before
        bounds = [after] if before is None else [after, (before, "")]
        self.newest = min((bound for bound in bounds if bound is not None), default=None)

    def of_one(self, state: State, session: Session) -> "_Search":
        """That part of it which lies in this state, in its share of the time."""
        one = replace(self._wanted, states=frozenset({state}))
        seconds = self.seconds / len(self._wanted.states)
        return _Search(one, self.limit, self._after, self.fields, seconds, session)

    def stop_at(self, place: Position | None) -> None:
        """Search no further than this: of the lists before, nothing behind it is known."""
        if place is not None:
            self.oldest = max(self.oldest, place)

    def is_all_of(self, source: Source) -> bool:
        """Whether the index holds nothing else and in order: then there is nothing to search."""
        return source.in_order and source.condition.keys() >= self.condition.keys()

    def few_of(self, source: Source) -> int:
        """How much is few, from what has to be read of it."""
        by_keys = source.in_order or (
            source.covers and source.condition.keys() >= self.condition.keys()
        )
        return _FEW if by_keys else _FEW_TO_FETCH

    def is_done(self, found: _Found) -> bool:
        """Whether the page is full or the end is reached."""
        return len(found.documents) > self.limit or found.seen_to is None

    def cut(self, found: _Found) -> _Found:
        """One more than was asked for was looked for, to know whether there is more."""
        if len(found.documents) <= self.limit:
            return found
        page = found.documents[: self.limit]
        return _Found(page, _place(page[-1]))


def _seen_to(parts: Sequence[_Found]) -> Position | None:
    """How far all of them were looked at; None: to the end."""
    return max((part.seen_to for part in parts if part.seen_to is not None), default=None)


def _merged(parts: Sequence[_Found], limit: int) -> _Found:
    """As far as all of them were looked at."""
    seen_to = _seen_to(parts)
    jobs = sorted((job for part in parts for job in part.documents), key=_place, reverse=True)
    if seen_to is not None:
        jobs = [job for job in jobs if _place(job) >= seen_to]
    if len(jobs) > limit:
        return _Found(jobs[:limit], _place(jobs[limit - 1]))
    return _Found(jobs, seen_to)


def _place(document: Document) -> tuple[datetime, str]:
    return document["created_at"], document["_id"]


@contextmanager
def _patient() -> Iterator[None]:
    try:
        with translated(), pymongo.timeout(_PATIENCE_SECONDS):
            yield
    except UnknownOutcome as error:
        if isinstance(error.__cause__, PyMongoError) and error.__cause__.timeout:
            text = f"the list was not there within {_PATIENCE_SECONDS:g} s; ask for less of it"
            raise Unavailable("MongoDB", text) from error
        raise
