"""Cron against an independent reckoning: walk every minute of real time and match the fields."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.cron import Cron, Gap, Repeat, read_cron
from pipeline.domain.cron_words import spelled_out

pytestmark = pytest.mark.unit

YEARS = (datetime(2019, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC))
MINUTE = timedelta(minutes=1)


def cron(
    text: str, zone: str = "UTC", *, gap: Gap | None = None, repeat: Repeat | None = None
) -> Cron:
    return read_cron(text, ZoneInfo(zone), seed="seed", gap=gap, repeat=repeat)


def local_fires(rule: Cron, after: str, count: int) -> list[str]:
    found = itertools.islice(rule.fires_after(datetime.fromisoformat(after)), count)
    return [fire.astimezone(rule.zone).strftime("%m-%d %H:%M%z") for fire in found]


# -- the independent reckoning


@cache
def transitions(zone_name: str) -> list[datetime]:
    """The instants within ten years at which the zone's offset changes, to the second."""
    zone, found = ZoneInfo(zone_name), []
    low = YEARS[0]
    while low < YEARS[1]:
        high = low + timedelta(days=7)
        found += list(_changes(zone, low, high))
        low = high
    return found


def _changes(zone: ZoneInfo, low: datetime, high: datetime) -> Iterator[datetime]:
    """Halve until the one change in here is found; a week holds two at the most (Morocco)."""
    middle = low + (high - low) // 2
    offsets = [at.astimezone(zone).utcoffset() for at in (low, middle, high)]
    if len(set(offsets)) == 1 and high - low < timedelta(days=2):
        return
    if high - low <= timedelta(seconds=1):
        if offsets[0] != offsets[2]:
            yield high.replace(microsecond=0)
        return
    if len(set(offsets)) > 1 or high - low >= timedelta(days=2):
        yield from _changes(zone, low, middle)
        yield from _changes(zone, middle, high)


def fields_match(rule: Cron, local: datetime) -> bool:
    """Numbers, `*`, lists, ranges and steps, as crontab(5) says: day and weekday are an OR."""
    minute, hour, day, month, weekday = rule.fields.split()
    days = _has(day, local.day, 1, 31), _has(weekday, local.isoweekday() % 7, 0, 6)
    on_day = all(days) if "*" in (day[0], weekday[0]) else any(days)
    return (
        _has(minute, local.minute, 0, 59)
        and _has(hour, local.hour, 0, 23)
        and _has(month, local.month, 1, 12)
        and on_day
    )


def _has(field: str, value: int, least: int, most: int) -> bool:
    for term in field.split(","):
        span, _, step = term.partition("/")
        low, _, high = span.partition("-")
        first = least if low == "*" else int(low)
        last = most if low == "*" or (step and not high) else int(high or low)
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


def reckoned(rule: Cron, start: datetime, end: datetime) -> list[datetime]:
    """Every minute of real time in (start, end], and the user's choices at the changes."""
    fires: set[datetime] = set()
    at = start.replace(second=0, microsecond=0)
    while at <= end + timedelta(hours=26):
        local = at.astimezone(rule.zone)
        offset = local.utcoffset()
        assert offset is not None
        whole = offset.seconds % 60 == 0
        if whole and fields_match(rule, local) and _is_chosen(rule, local):
            fires.add(at)
        at += MINUTE
    for jump in transitions(rule.zone.key):
        if start < jump <= end and _misses_one(rule, jump):
            fires.add(jump)
    return sorted(fire for fire in fires if start < fire <= end)


def _is_chosen(rule: Cron, local: datetime) -> bool:
    """Of a wall-clock time that comes twice, is this the one (or one of those) that fires?"""
    twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    if not twice:
        return True
    follows = rule.fields.split()[1].startswith("*")
    repeat = rule.repeat or (Repeat.BOTH if follows else Repeat.FIRST)
    return repeat is Repeat.BOTH or (repeat is Repeat.SECOND) == bool(local.fold)


def _misses_one(rule: Cron, jump: datetime) -> bool:
    """Whether the clock jumps over a time that the expression names, and that matters."""
    follows = rule.fields.split()[1].startswith("*")
    gap = rule.gap or (Gap.SKIP if follows else Gap.SHIFT)
    before = (jump - timedelta(seconds=1)).astimezone(rule.zone).replace(tzinfo=None)
    after = jump.astimezone(rule.zone).replace(tzinfo=None)
    missing = before + timedelta(seconds=1)
    while gap is Gap.SHIFT and missing < after:
        if fields_match(rule, missing):
            return True
        missing += MINUTE
    return False


ZONES = sorted(name for name in available_timezones() if "/" in name or name == "UTC")
CHANGING = [name for name in ZONES if not name.startswith(("right/", "posix/", "Etc/"))]
EXPRESSIONS = [
    "30 2 * * *",
    "0 0 * * *",
    "*/30 * * * *",
    "15 1,2 * * *",
    "0 */2 * * *",
    "59 23 * * 0",
]


def _window(rule: Cron, change: datetime) -> tuple[list[datetime], list[datetime]]:
    start, end = change - timedelta(hours=7), change + timedelta(hours=7)
    ours = list(itertools.takewhile(lambda fire: fire <= end, rule.fires_after(start)))
    return ours, reckoned(rule, start, end)


@given(data=st.data())
def test_every_change_of_every_zone_agrees_with_walking_the_minutes(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(CHANGING))
    if not transitions(zone):
        return
    change = data.draw(st.sampled_from(transitions(zone)))
    rule = cron(
        data.draw(st.sampled_from(EXPRESSIONS)),
        zone,
        gap=data.draw(st.sampled_from([None, *Gap])),
        repeat=data.draw(st.sampled_from([None, *Repeat])),
    )
    ours, walked = _window(rule, change)
    assert ours == walked


CHOICES = [(None, None), (Gap.SKIP, Repeat.SECOND), (Gap.SHIFT, Repeat.BOTH)]


@pytest.mark.timeout(3600)
def test_in_the_long_form_no_change_of_any_zone_is_left_out(long_form: bool) -> None:
    """Zones that change at one instant in one way are one; the short form takes some of them."""
    zones = CHANGING if long_form else CHANGING[::60]
    changes = {(at, *_offsets(zone, at)): zone for zone in zones for at in transitions(zone)}
    assert len(changes) > (600 if long_form else 10)
    for change, zone in list(changes.items())[:: 1 if long_form else 30]:
        for text, (gap, repeat) in itertools.product(EXPRESSIONS, CHOICES):
            ours, walked = _window(cron(text, zone, gap=gap, repeat=repeat), change[0])
            assert ours == walked, (zone, text, gap, repeat)


def _offsets(zone: str, at: datetime) -> tuple[timedelta | None, timedelta | None]:
    before = at - timedelta(seconds=1)
    return before.astimezone(ZoneInfo(zone)).utcoffset(), at.astimezone(ZoneInfo(zone)).utcoffset()


minutes = st.integers(0, 59).map(str) | st.sampled_from(["*", "*/5", "10-20", "0,30", "7/20"])
hours = st.integers(0, 23).map(str) | st.sampled_from(["*", "*/3", "0-5", "1,2,3"])
days = st.sampled_from(["*", "1", "15", "*/2", "28-31"])
weekdays = st.sampled_from(["*", "0", "1-5", "6", "7"])


@given(minute=minutes, hour=hours, day=days, weekday=weekdays, seconds=st.integers(0, 10**8))
def test_any_expression_agrees_with_walking_the_minutes(
    minute: str, hour: str, day: str, weekday: str, seconds: int
) -> None:
    rule = cron(f"{minute} {hour} {day} * {weekday.replace('7', '0')}", "Europe/Berlin")
    start = YEARS[0] + timedelta(seconds=seconds)
    end = start + timedelta(hours=30)
    ours = list(itertools.takewhile(lambda fire: fire <= end, rule.fires_after(start)))
    assert ours == reckoned(rule, start, end)


# -- the worked cases


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00Z",
         ["03-08 03:00-0400", "03-09 02:30-0400"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00Z",
         ["11-01 01:30-0400", "11-02 01:30-0500"]),
        ("*/30 * * * *", "America/New_York", "2026-11-01T05:00Z",
         ["11-01 01:30-0400", "11-01 01:00-0500", "11-01 01:30-0500", "11-01 02:00-0500"]),
        ("15 * * * *", "America/New_York", "2026-03-08T06:00Z",
         ["03-08 01:15-0500", "03-08 03:15-0400"]),
        ("0 */2 * * *", "Europe/Berlin", "2026-03-28T22:30Z",
         ["03-29 00:00+0100", "03-29 04:00+0200"]),
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00Z",
         ["09-06 01:00-0300", "09-07 00:00-0300"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z",
         ["10-04 02:30+1100", "10-05 02:15+1100"]),
        ("0 9 13 * 5", "UTC", "2026-11-01T00:00Z",
         ["11-06 09:00+0000", "11-13 09:00+0000"]),
    ],
)  # fmt: skip
def test_worked_cases(text: str, zone: str, after: str, expected: list[str]) -> None:
    assert local_fires(cron(text, zone), after, len(expected)) == expected


def test_the_user_may_overrule_both_choices() -> None:
    zone = "America/New_York"
    skip = cron("30 2 * * *", zone, gap=Gap.SKIP)
    assert local_fires(skip, "2026-03-07T12:00Z", 1) == ["03-09 02:30-0400"]
    shift = cron("15 * * * *", zone, gap=Gap.SHIFT)
    assert local_fires(shift, "2026-03-08T06:30Z", 2) == ["03-08 03:00-0400", "03-08 03:15-0400"]
    second = cron("30 1 * * *", zone, repeat=Repeat.SECOND)
    assert local_fires(second, "2026-10-31T12:00Z", 1) == ["11-01 01:30-0500"]
    both = cron("30 1 * * *", zone, repeat=Repeat.BOTH)
    assert local_fires(both, "2026-10-31T12:00Z", 2) == ["11-01 01:30-0400", "11-01 01:30-0500"]
    first = cron("0 * * * *", zone, repeat=Repeat.FIRST)
    assert local_fires(first, "2026-11-01T04:30Z", 2) == ["11-01 01:00-0400", "11-01 02:00-0500"]


@pytest.mark.parametrize("name", ["@yearly", "@annually", "@monthly", "@weekly", "@daily",
                                  "@midnight", "@hourly", "@DAILY"])  # fmt: skip
def test_nicknames_are_known(name: str) -> None:
    assert cron(name).next_after(YEARS[0]) is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 0 30 2 *", "day-of-month"), ("0 0 31 4,6,9 *", "day-of-month"),
        ("61 * * * *", "minute"), ("* 24 * * *", "hour"), ("* * * 13 *", "month"),
        ("* * * * 9", "day-of-week"), ("* * * *", "five fields"), ("* * * * * *", "five fields"),
        ("@never", "@yearly"), ("", "five fields"), ("*/0 * * * *", "minute"),
        ("H(50-70) * * * *", "minute"), ("H/99 * * * *", "minute"), ("a b c d e", "minute"),
    ],
)  # fmt: skip
def test_an_impossible_expression_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        cron(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("60 * * * *", "bad minute: '60' is not between 0 and 59"),
        ("5-1 * * * *", "bad minute: the range '5-1' runs backwards"),
        ("*/0 * * * *", "bad minute: the step of '*/0' is not a number from 1 up"),
        ("0,75 * * * *", "bad minute: '75' is not between 0 and 59"),
        ("0 9,,10 * * *", "bad hour: a value is missing: it takes * or a number from 0 to 23"),
        ("0 *-5 * * *", "bad hour: * cannot be an end of a range"),
        ("0 0 0 * *", "bad day-of-month: '0' is not between 1 and 31"),
        ("0 0 ? * *", "bad day-of-month: '?' is not * or a number from 1 to 31"),
        ("0 0 * MAI *",
         "bad month: 'MAI' is not * or a number from 1 to 12 or a name from JAN to DEC"),
        ("0 0 * * fri-mon", "bad day-of-week: the range 'FRI-MON' runs backwards"),
        ("0 0 * * MON#6", "bad day-of-week: in 'MON#6' the week is not a number from 1 to 5"),
        ("0 0 * * 9L", "bad day-of-week: '9' is not between 0 and 7"),
        ("*/90 * * * *", "bad minute: the step of '*/90' is more than 60: say it with every"),
        ("0 */36 * * *", "bad hour: the step of '*/36' is more than 24: say it with every"),
        ("0 0 1-5/40 * *",
         "bad day-of-month: the step of '1-5/40' is more than 31: say it with every"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_word_and_what_may_stand_there(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as refused:
        cron(text)
    assert str(refused.value) == reason


@given(st.from_regex(r"[0-9*/,#LW-]{1,6}", fullmatch=True), st.integers(0, 4))
def test_whatever_is_refused_for_one_field_is_refused_with_a_reason(word: str, place: int) -> None:
    fields = " ".join(word if place == number else "*" for number in range(5))
    try:
        cron(fields)
    except ValueError as refused:
        assert ": " in str(refused) or "never fires" in str(refused)


def test_h_spreads_schedules_and_stays_the_same_for_each() -> None:
    def fields(seed: str, text: str = "H H * * *") -> str:
        return read_cron(text, ZoneInfo("UTC"), seed=seed).fields

    assert fields("a") == fields("a")
    assert len({fields(f"schedule-{n}") for n in range(50)}) > 40
    minute, step = fields("a", "H/15 * * * *").split()[0].split("-59/")
    assert (int(minute) < 15, step) == (True, "15")
    assert 10 <= int(fields("a", "H(10-12) * * * *").split()[0]) <= 12


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5/15 * * * *", "At minutes 5, 20, 35, and 50 of every hour"),
        ("5/15,40 * * * *", "At minutes 5, 20, 35, 40, and 50 of every hour"),
        ("12-30/9 4 * * *", "At 04:12, 04:21, and 04:30 every day"),
        ("0 0 * 3/4 *", "At 00:00 every day in March, July, and November"),
        ("0 0 * * 1/2", "At 00:00 on Sunday, Monday, Wednesday, and Friday"),
        ("0 0 * * 0,7", "At 00:00 on Sunday"),
        ("0 0 11,21,22,23,31 * *",
         "At 00:00 on the 11th, the 21st, the 22nd, the 23rd, and the 31st day of month"),
        ("*/15 * * * *", "Every 15th minute of every hour"),
        ("0 0 L * *", "At 00:00 on the last day of every month"),
        ("0 0 * * 5#2", "At 00:00 on the second Friday of the month"),
    ],
)  # fmt: skip
def test_the_words_name_the_moments_where_a_step_could_be_misread(text: str, words: str) -> None:
    assert cron(text).in_words() == words


@given(minute=minutes, hour=hours, day=days | st.just("L"), weekday=weekdays | st.just("1/2,5#2"))
def test_what_is_told_in_words_fires_at_the_same_moments(
    minute: str, hour: str, day: str, weekday: str
) -> None:
    rule = cron(f"{minute} {hour} {day} * {weekday}")
    told = cron(spelled_out(rule.fields))
    first = [list(itertools.islice(each.fires_after(YEARS[0]), 50)) for each in (rule, told)]
    assert first[0] == first[1]


def test_names_and_words() -> None:
    rule = cron("0 9 * jan-mar mon-fri")
    assert local_fires(rule, "2026-01-01T10:00Z", 1) == ["01-02 09:00+0000"]
    assert "09:00" in rule.in_words()
