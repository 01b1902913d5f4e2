"""The machine, walked through: every state, every event."""

from itertools import product

import pytest

from pipeline.domain.states import (
    FINAL_STATES,
    FIRST_STATES,
    TRANSITIONS,
    VISIBLE_STATES,
    Event,
    State,
    sources_of,
    target_of,
)

pytestmark = pytest.mark.unit

DRAWING = """
pending    dispatch  queued
queued     start     running
running    succeed   succeeded
running    retry     pending
running    lose      pending
running    release   pending
running    die       dead
running    cancel    cancelled
pending    cancel    cancelled
queued     cancel    cancelled
pending    expire    dead
queued     expire    dead
pending    change    pending
queued     change    pending
dead       redrive   pending
cancelled  redrive   pending
pending    bury      buried
queued     bury      buried
succeeded  bury      buried
dead       bury      buried
cancelled  bury      buried
"""
"""PROTOCOL section 2 in words, written apart from the table; whoever changes one sees the other."""

DRAWN = {
    (State(before), Event(event)): State(after)
    for before, event, after in (line.split() for line in DRAWING.strip().splitlines())
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_state_and_event_lead_where_the_protocol_draws_it(state: State, event: Event) -> None:
    assert TRANSITIONS.get((state, event)) == DRAWN.get((state, event))
    assert (state in sources_of(event)) == ((state, event) in DRAWN)


@pytest.mark.parametrize("event", Event)
def test_an_event_happens_somewhere_and_leads_to_one_state_only(event: Event) -> None:
    assert sources_of(event)
    assert {after for (_, happened), after in DRAWN.items() if happened is event} == {
        target_of(event)
    }


def test_final_states_are_left_only_because_an_operator_asks() -> None:
    left_by = {event for state, event in TRANSITIONS if state in FINAL_STATES}
    assert left_by == {Event.REDRIVE, Event.BURY}


def test_success_is_never_run_again() -> None:
    assert State.SUCCEEDED not in sources_of(Event.REDRIVE)


def test_nothing_comes_back_from_the_grave_and_no_running_job_goes_there() -> None:
    assert not [event for state, event in TRANSITIONS if state is State.BURIED]
    assert State.RUNNING not in sources_of(Event.BURY)


def test_only_dispatch_makes_a_stored_job_queued() -> None:
    """Every other way back is `pending`, whose owner is the dispatcher (H14)."""
    assert {event for (_, event), after in TRANSITIONS.items() if after is State.QUEUED} == {
        Event.DISPATCH
    }


def test_from_every_state_that_is_not_final_an_end_can_be_reached() -> None:
    for start in VISIBLE_STATES - FINAL_STATES:
        reached, edge = {start}, {start}
        while edge:
            edge = {TRANSITIONS[key] for key in TRANSITIONS if key[0] in edge} - reached
            reached |= edge
        assert reached >= FINAL_STATES


def test_the_table_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.DEAD, Event.START] = State.RUNNING  # type: ignore[index]


def test_first_final_and_visible_states() -> None:
    assert {State.PENDING, State.QUEUED} == FIRST_STATES
    assert {State.SUCCEEDED, State.DEAD, State.CANCELLED} == FINAL_STATES
    assert set(State) - VISIBLE_STATES == {State.BURIED}
