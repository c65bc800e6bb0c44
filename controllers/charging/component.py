"""The charging controller on the bus: what chargers say, whether they are there, and what follows for widgets and sessions.

What follows is published in an order that a kill at any point leaves right: what a widget is told first, then sessions, then
the state, from which a new controller goes on. It hears again what this one has not finished, and says the same again.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec.structs import replace

from broker.contract.charging.topics import (
    CHARGER_LINK,
    PAIRS,
    SESSION,
    SOC,
    STATE,
    STATUS,
    ChargerState,
    Pairs,
    Session,
    Status,
    StatusData,
    StatusEvent,
)
from broker.contract.components import topics as components
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.stamp import rfc3339
from controllers.charging.charger import Change, is_over, lose, take_soc, unpair
from controllers.charging.deadlines import Deadlines
from controllers.charging.links import Links, Standing
from controllers.charging.redelivery import Redelivery
from controllers.charging.restored import restored

GRACE_S = 5.0
"""Wall seconds that a charger may be away before its widget is told."""
ADAPTER_GRACE_S = 15.0
"""Wall seconds in which the chargers of an adapter that died connect again."""
_PATIENCE_S = {Standing.LOST: GRACE_S, Standing.DOUBTFUL: ADAPTER_GRACE_S}
_ONLINE = (Standing.UNKNOWN, Standing.CONNECTED)


class ChargingController:
    """Sans-I/O component that tells every widget how far its charger is, and keeps the sessions.

    `poll` gives new pairs when there are any, `calendar` the instant of plant time for `now_s`; `time_scale` is plant seconds
    per wall second.
    """

    def __init__(
        self, pairs: Pairs, poll: Callable[[], Pairs | None], calendar: Callable[[float], datetime], time_scale: float = 1.0
    ) -> None:
        self._pairs, self._poll, self._calendar, self._time_scale = pairs.pairs, poll, calendar, time_scale
        self._chargers: dict[str, ChargerState] = {}
        self._links, self._deadlines, self._redelivery = Links(), Deadlines(), Redelivery(time_scale)
        self._said_pairs = False
        self._unsettled: dict[str, None] = {}
        """Chargers of which something retained was heard; nothing follows from it before all of it is there."""
        self._restoring = False

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a charger's frame or its link, a component's presence, or what an earlier run left on the bus.

        Raises:
            Rejected: the message cannot be used: not JSON, of another shape, a state of charge outside 0 to 100 or retained,
                a charger that is in no pair.
        """
        if levels := SOC.parse(message.topic):
            return self._take_soc(levels["id"], message, now_s)
        if levels := STATE.parse(message.topic):
            return self._take_state(levels["id"], message)
        if levels := CHARGER_LINK.parse(message.topic):
            return self._take_link(levels["id"], message, now_s)
        if levels := components.STATE.parse(message.topic):
            return self._take_presence(levels["component"], message, now_s)
        raise Rejected(f"topic {message.topic!r} names no charger")

    def on_tick(self, now_s: float) -> list[Publication]:
        """Say the pairs, when they are new; and let chargers be gone that were away for too long."""
        publications = self._say_pairs(self._poll(), now_s)
        if not self._restoring:
            publications += self._settle(now_s)
        self._restoring = False
        for charger, since_s in self._deadlines.expired(now_s):
            if before := self._chargers.get(charger):
                publications += self._becomes(charger, lose(before, rfc3339(self._calendar(since_s))))
        return publications

    def _take_soc(self, charger: str, message: Message, now_s: float) -> list[Publication]:
        if message.retain:
            raise Rejected("a retained state of charge may be from any time: frames are not to be retained")
        soc, widget = SOC.decode(message).data.soc, self._pairs.get(charger)
        if widget is None:
            raise Rejected(f"charger {charger!r} is in no pair: add it to the file of the pairs")
        publications = self._settle(now_s)
        before, now = self._chargers.get(charger), self._calendar(now_s)
        if self._redelivery.is_old(charger, message.stamp, soc, before, now):
            return publications
        if self._links.spoke(charger, message.stamp):
            self._deadlines.cancel(charger)
        state = before or ChargerState(state="online", widget=widget)
        if self._links.standing(charger) in _ONLINE:
            state = replace(state, state="online")
        at = rfc3339(self._redelivery.instant(message.stamp, now))
        self._wait_if_away(charger, now_s)  # what begins now is to have an end, even if nothing more is heard
        return publications + self._becomes(charger, take_soc(charger, state, soc, at))

    def _take_link(self, charger: str, message: Message, now_s: float) -> list[Publication]:
        link = CHARGER_LINK.decode(message)
        if charger not in self._pairs:
            return []
        publications = [] if message.retain else self._settle(now_s)
        if not self._links.hear(charger, link, message.stamp, message.retain):
            return publications
        if link.connected:
            self._deadlines.cancel(charger)
        return publications + self._follow((charger,), message.retain, now_s)

    def _take_presence(self, name: str, message: Message, now_s: float) -> list[Publication]:
        presence = components.STATE.decode(message)
        publications = [] if message.retain else self._settle(now_s)
        chargers = self._links.hear_component(name, presence)
        return publications + self._follow(chargers, message.retain, now_s)

    def _take_state(self, charger: str, message: Message) -> list[Publication]:
        """Go on from a retained state. After a crash of the broker it may be older than what is known here: it is corrected."""
        if not message.retain:
            return []  # our own echo
        state, known = restored(charger, message), self._chargers.get(charger)
        if known is not None and known.soc is not None:
            return [] if _is_same(state, known) else [_status(known.widget, known.status), _state(charger, known)]
        if charger in self._pairs or not is_over(state):
            self._chargers[charger] = state
            self._wait(charger)
        return []

    def _follow(self, chargers: Iterable[str], retained: bool, now_s: float) -> list[Publication]:
        if not retained:
            return [each for charger in chargers for each in self._stand(charger, now_s)]
        for charger in chargers:
            self._wait(charger)
        return []

    def _wait(self, charger: str) -> None:
        self._unsettled[charger] = None
        self._restoring = True

    def _settle(self, now_s: float) -> list[Publication]:
        """Let retained messages have their effect, once all are there: a live one has come, or none between two ticks."""
        if not self._unsettled:
            return []
        unsettled, self._unsettled = self._unsettled, {}
        publications = self._pair_anew(unsettled, now_s)
        return publications + [each for charger in unsettled for each in self._stand(charger, now_s)]

    def _stand(self, charger: str, now_s: float) -> list[Publication]:
        """Let follow what is known of a charger's connection."""
        standing, widget = self._links.standing(charger), self._pairs.get(charger)
        if widget is None or standing is Standing.UNKNOWN:
            return []
        state = self._chargers.get(charger) or ChargerState(state="offline", widget=widget)
        if standing is Standing.CONNECTED:
            self._deadlines.cancel(charger)
            state = replace(state, state="online")
        elif standing is Standing.LOST:
            state = replace(state, state="offline")
        if not is_over(state):
            self._wait_if_away(charger, now_s)
        return self._becomes(charger, Change(state))

    def _wait_if_away(self, charger: str, now_s: float) -> None:
        if (patience_s := _PATIENCE_S.get(self._links.standing(charger))) is not None:
            self._deadlines.wait(charger, now_s, patience_s * self._time_scale)

    def _say_pairs(self, pairs: Pairs | None, now_s: float) -> list[Publication]:
        changed = pairs is not None and pairs.pairs != self._pairs
        if pairs is not None:
            self._pairs = pairs.pairs
        if self._said_pairs and not changed:
            return []
        self._said_pairs = True
        publications = [PAIRS.publication(Pairs(self._pairs))]
        return publications + self._pair_anew(self._chargers, now_s) if changed else publications

    def _pair_anew(self, chargers: Iterable[str], now_s: float) -> list[Publication]:
        """Tell the widgets of those chargers whose widget is another now, or that have none any more."""
        known = ((charger, state) for charger in chargers if (state := self._chargers.get(charger)))
        moved = {charger: state for charger, state in known if state.widget != self._pairs.get(charger)}
        if not moved:
            return []
        changes = {charger: self._moved(charger, state, now_s) for charger, state in moved.items()}
        for charger, change in changes.items():
            self._chargers[charger] = change.state
            if charger not in self._pairs:
                self._forget(charger)
        publications = self._tell_moved(moved.values(), [self._pairs[each] for each in moved if each in self._pairs])
        publications += [_session(charger, each) for charger, change in changes.items() for each in change.sessions]
        return publications + [_state(charger, change.state) for charger, change in changes.items()]

    def _moved(self, charger: str, state: ChargerState, now_s: float) -> Change:
        widget = self._pairs.get(charger)
        return unpair(state, rfc3339(self._calendar(now_s))) if widget is None else Change(replace(state, widget=widget))

    def _tell_moved(self, before: Iterable[ChargerState], widgets: Iterable[str]) -> list[Publication]:
        """Tell each widget that was given, or taken away, what its charger's status is now, if it was told another."""
        told = {state.widget: state.status for state in before}
        concerned = dict.fromkeys([*told, *widgets])
        chargers = {widget: charger for charger, widget in self._pairs.items() if widget in concerned}
        publications = []
        for widget in concerned:
            state = self._chargers.get(chargers.get(widget, ""))
            status = state.status if state else Status.UNAVAILABLE
            if status is not told.get(widget, Status.UNAVAILABLE):
                publications.append(_status(widget, status))
        return publications

    def _forget(self, charger: str) -> None:
        del self._chargers[charger]
        self._links.forget(charger)
        self._deadlines.cancel(charger)
        self._redelivery.forget(charger)

    def _becomes(self, charger: str, change: Change) -> list[Publication]:
        """Remember what has become of a charger, and say what is new in it."""
        before, state = self._chargers.get(charger), change.state
        self._chargers[charger] = state
        told = before.status if before else Status.UNAVAILABLE
        publications = [] if state.status is told else [_status(state.widget, state.status)]
        publications += [_session(charger, each) for each in change.sessions]
        return publications if before and _is_same(before, state) else [*publications, _state(charger, state)]


def _is_same(one: ChargerState, other: ChargerState) -> bool:
    """Tell whether two states differ at most in the instant at which the same state of charge was said again."""
    return one == other or replace(one, soc_at=other.soc_at) == other


def _status(widget: str, status: Status) -> Publication:
    return STATUS.publication(StatusEvent(data=StatusData(status)), id=widget)


def _session(charger: str, session: Session) -> Publication:
    return SESSION.publication(session, id=charger)


def _state(charger: str, state: ChargerState) -> Publication:
    return STATE.publication(state, id=charger)
