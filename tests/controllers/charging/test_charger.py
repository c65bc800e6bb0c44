import pytest

from broker.contract.charging.topics import ChargerState, EndedBy, Status
from controllers.charging.charger import Change, disconnect, is_ended, status_of, take_soc, unpair
from tests.controllers.charging.world import at

NEW = ChargerState(state="online", widget="w1")


def after(*socs: float) -> Change:
    change = Change(NEW)
    for number, soc in enumerate(socs):
        change = take_soc("c1", change.state, soc, at(number))
    return change


def ends(change: Change) -> list[str]:
    return [each.ended_by.value if each.ended_by else "begun" for each in change.sessions]


@pytest.mark.parametrize(
    ("soc", "status"),
    [
        (0, Status.CHARGING),
        (79.99, Status.CHARGING),
        (80, Status.CHARGING_80),
        (99.99, Status.CHARGING_80),
        (100, Status.CHARGED),
    ],
)
def test_a_widget_shows_where_the_charger_is(soc: float, status: Status) -> None:
    assert status_of(soc) is status
    assert after(soc).state.status is status


def test_a_session_begins_with_the_first_soc() -> None:
    change = after(70)
    (session,) = change.sessions
    assert (session.session, session.widget, session.started_at, session.soc_start) == (f"c1@{at(0)}", "w1", at(0), 70)
    assert (session.ended_at, session.soc_end, session.duration_s, session.ended_by) == (None, None, None, None)
    assert change.state.session is not None
    assert change.state.session.session == session.session


def test_a_full_battery_ends_the_session() -> None:
    change = after(70, 85, 100)
    (session,) = change.sessions
    assert (session.session, session.soc_start, session.soc_end) == (f"c1@{at(0)}", 70, 100)
    assert (session.started_at, session.ended_at, session.duration_s) == (at(0), at(2), 2.0)
    assert session.ended_by is EndedBy.CHARGED
    assert change.state.session is None
    assert change.state.full


def test_a_battery_that_arrives_full_has_a_session() -> None:
    (session,) = after(100).sessions
    assert (session.soc_start, session.soc_end, session.duration_s, session.ended_by) == (100, 100, 0.0, EndedBy.CHARGED)
    assert after(100).state.full


@pytest.mark.parametrize(
    ("socs", "what"),
    [
        ((50, 50), []),
        ((50, 49), []),  # exactly one point: noise
        ((70.1, 69.1), []),  # here too, despite binary fractions
        ((50, 48.99), ["replaced", "begun"]),
        ((50, 60, 59), []),
        ((50, 60, 58.9), ["replaced", "begun"]),
        ((50, 49.5, 49), []),
        ((50, 49.5, 48.9), ["replaced", "begun"]),  # not one point at a time
        ((100, 100), []),
        ((100, 99), []),
        ((100, 99, 100), []),
        ((100, 98.99), ["begun"]),
        ((100, 0), ["begun"]),
        ((100, 20, 100), ["charged"]),
        ((60, 100, 99.5, 100), []),
        ((0,), ["begun"]),
        ((100,), ["charged"]),
    ],
)
def test_another_battery_is_distinguished_from_noise(socs: tuple[float, ...], what: list[str]) -> None:
    assert ends(after(*socs)) == what


def test_a_replaced_batterys_session_ends_with_its_last_soc() -> None:
    ended, begun = after(50, 60, 59.5, 20).sessions
    assert (ended.session, ended.ended_at, ended.soc_end, ended.duration_s) == (f"c1@{at(0)}", at(2), 59.5, 2.0)
    assert (begun.session, begun.started_at, begun.soc_start, begun.ended_by) == (f"c1@{at(3)}", at(3), 20, None)


def test_noise_at_full_charge_changes_only_the_widget() -> None:
    change = after(100, 99.5)
    assert change.state.status is Status.CHARGING_80
    assert change.state.full
    assert change.state.session is None


def test_duration_is_not_negative_after_a_clock_set_back() -> None:
    state = take_soc("c1", NEW, 50, at(100)).state
    (session,) = take_soc("c1", state, 100, at(40)).sessions
    assert (session.started_at, session.ended_at, session.duration_s) == (at(100), at(100), 0.0)


def test_a_disconnected_charger_has_no_session() -> None:
    change = disconnect(after(50, 60).state, at(30))
    (session,) = change.sessions
    assert (session.ended_by, session.ended_at, session.soc_end, session.duration_s) == (EndedBy.OFFLINE, at(30), 60, 30.0)
    assert (change.state.state, change.state.status, change.state.session) == ("offline", Status.UNAVAILABLE, None)
    assert is_ended(change.state)
    assert disconnect(change.state, at(60)).sessions == ()


def test_a_session_does_not_end_before_its_last_frame() -> None:
    (session,) = disconnect(after(50, 60).state, at(0.5)).sessions
    assert session.ended_at == at(1)


def test_a_disconnected_full_charger_stays_full() -> None:
    change = take_soc("c1", disconnect(after(70, 100).state, at(30)).state, 100, at(60))
    assert ends(change) == []
    assert change.state.status is Status.CHARGED


def test_an_unpaired_charger_starts_from_scratch() -> None:
    change = unpair(after(50).state, at(30))
    assert ends(change) == ["unpaired"]
    assert not unpair(after(100).state, at(30)).state.full
    assert is_ended(change.state)


@pytest.mark.parametrize("state", [NEW, after(50).state, after(100).state])
def test_an_open_session_is_not_ended(state: ChargerState) -> None:
    assert not is_ended(state)
