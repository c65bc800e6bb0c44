"""The charging controller: from the states of charge and the connectivity of chargers to widget statuses and sessions.

The order of publications makes a kill at any point harmless: first the widget's status, then sessions, then the charger's
state, from which a restarted controller continues. Messages that were not acknowledged are redelivered to it, and it publishes
the same for them.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace

from broker.contract.charging.topics import (
    ANSWER,
    CHARGE_POINT,
    CHARGER_LINK,
    PAIRS,
    REQUEST,
    SESSION,
    SOC,
    STATE,
    STATUS,
    ChargePoint,
    ChargerState,
    ChargingSession,
    PairAction,
    PairAnswer,
    PairRequest,
    Pairs,
    Status,
    status_event,
)
from broker.contract.components import topics as components
from broker.contract.components.topics import FORGET, read_forget, removal
from broker.errors import Rejected
from broker.message import Message, Publication, encode
from broker.stamp import rfc3339
from controllers.charging.charge_point import follow, go_offline, measure
from controllers.charging.charger import Change, disconnect, is_ended, take_soc, unpair
from controllers.charging.connectivity import Connectivity, GracePeriods, LinkTracker
from controllers.charging.pairs import PairRefused, with_pair, without_pair
from controllers.charging.recovery import RedeliveryFilter, measured_at, read_retained_state

GRACE_S = 5.0
"""Wall seconds that a charger may be disconnected before its widget shows it."""
ADAPTER_GRACE_S = 15.0
"""Wall seconds in which the chargers of an adapter that died may reconnect."""
_GRACE_S = {Connectivity.DISCONNECTED: GRACE_S, Connectivity.UNCERTAIN: ADAPTER_GRACE_S}
_ONLINE = (Connectivity.UNKNOWN, Connectivity.CONNECTED)


class PairsStore(Protocol):
    """Where the pairs are kept; others may change them too."""

    def poll(self) -> Pairs | None:
        """Return the pairs if they have changed."""

    def change(self, edit: Callable[[Mapping[str, str]], dict[str, str]]) -> Pairs:
        """Edit the pairs and return them.

        Raises:
            PairRefused: they are unchanged; the text gives the reason.
        """


class ChargingController:
    """Sans-I/O component that keeps every widget's status and the charging sessions up to date.

    `store` keeps the pairs, `calendar` returns the instant of plant time for `now_s`; `time_scale` is plant seconds per wall
    second.
    """

    def __init__(self, pairs: Pairs, store: PairsStore, calendar: Callable[[float], datetime], time_scale: float = 1.0) -> None:
        self._pairs, self._store, self._calendar, self._time_scale = pairs.pairs, store, calendar, time_scale
        self._chargers: dict[str, ChargerState] = {}
        self._points: dict[str, ChargePoint] = {}
        """Chargers that speak OCPP. They need no widget, and their sessions are the adapter's."""
        self._links, self._grace, self._redelivery = LinkTracker(), GracePeriods(), RedeliveryFilter(time_scale)
        self._pairs_published = False
        self._unsettled: dict[str, None] = {}
        """Chargers with retained messages, which take effect only when all of them have arrived."""
        self._restoring = False

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a charger's frame or link, an operator's request, a component's presence, or a retained state of an earlier run.

        Raises:
            Rejected: the message cannot be used: not JSON, of another shape, a state of charge outside 0 to 100 or retained,
                a charger that is in no pair, a response topic that is not ours.
        """
        if levels := SOC.parse(message.topic):
            return self._take_soc(levels["id"], message, now_s)
        if levels := STATE.parse(message.topic):
            return self._take_state(levels["id"], message)
        if levels := CHARGER_LINK.parse(message.topic):
            return self._take_link(levels["id"], message, now_s)
        if levels := CHARGE_POINT.parse(message.topic):
            return self._take_point(levels["id"], message, now_s)
        if levels := components.STATE.parse(message.topic):
            return self._take_presence(levels["component"], message, now_s)
        if message.topic == REQUEST.template.text:
            return self._take_request(message, now_s)
        if FORGET.parse(message.topic) is not None:
            return self._forget(message, now_s)
        raise Rejected(f"topic {message.topic!r} names no charger")

    def on_tick(self, now_s: float) -> list[Publication]:
        """Publish the pairs when they are new, and disconnect chargers whose grace period is over."""
        publications = self._publish_pairs(self._store.poll(), now_s)
        if not self._restoring:
            publications += self._settle(now_s)
        self._restoring = False
        for charger, since_s in self._grace.expired(now_s):
            if before := self._chargers.get(charger):
                publications += self._becomes(charger, self._disconnected(charger, before, since_s))
        return publications

    def _take_soc(self, charger: str, message: Message, now_s: float) -> list[Publication]:
        if message.retain:
            raise Rejected("a retained state of charge may be of any age: publish frames without the retain flag")
        soc, widget, point = SOC.decode(message).data.soc, self._pairs.get(charger), self._points.get(charger)
        if widget is None and point is None:
            raise Rejected(f"charger {charger!r} is in no pair: scaup chargers pair {charger} WIDGET")
        publications = self._settle(now_s)
        before, now = self._chargers.get(charger), self._calendar(now_s)
        if self._redelivery.is_redelivered(charger, message.stamp, soc, before, now):
            return publications
        if self._links.confirm(charger, message.stamp):
            self._grace.cancel(charger)
        state = before or ChargerState(state="online", widget=widget)
        if self._links.connectivity(charger) in _ONLINE:
            state = replace(state, state="online")
        at = rfc3339(measured_at(message.stamp, now))
        self._start_grace(charger, now_s)  # so that a session that begins now ends, even if this was the last frame
        if point is not None:
            return publications + self._becomes(charger, Change(measure(state, point, soc, at)))
        return publications + self._becomes(charger, take_soc(charger, state, soc, at))

    def _take_link(self, charger: str, message: Message, now_s: float) -> list[Publication]:
        if not message.payload:
            return []  # removed
        link = CHARGER_LINK.decode(message)
        publications = [] if message.retain else self._settle(now_s)
        if not self._links.take_link(charger, link, message.stamp, message.retain):
            return publications
        if link.connected:
            self._grace.cancel(charger)
        return publications + self._update((charger,), message.retain, now_s)

    def _take_point(self, charger: str, message: Message, now_s: float) -> list[Publication]:
        """Take what an OCPP charger has reported. Without a payload it is no such charger any more."""
        if message.payload:
            self._points[charger] = CHARGE_POINT.decode(message)
        elif self._points.pop(charger, None) is not None and charger in self._chargers:
            self._chargers[charger] = replace(self._chargers[charger], session=None)  # it was the adapter's
        publications = [] if message.retain else self._settle(now_s)
        return publications + self._update((charger,), message.retain, now_s)

    def _take_presence(self, name: str, message: Message, now_s: float) -> list[Publication]:
        presence = components.STATE.decode(message)
        publications = [] if message.retain else self._settle(now_s)
        chargers = self._links.take_presence(name, presence)
        return publications + self._update(chargers, message.retain, now_s)

    def _take_state(self, charger: str, message: Message) -> list[Publication]:
        """Continue from a retained state. After a crash of the broker it may be older than the state here: then correct it."""
        if not message.retain or not message.payload:
            return []  # our own echo
        state, known = read_retained_state(charger, message), self._chargers.get(charger)
        if known is not None and known.soc is not None:
            return [] if _is_same(state, known) else [*_statuses(known), _state(charger, known)]
        if charger in self._pairs or not is_ended(state) or state.widget is None:
            self._chargers[charger] = state
            self._defer(charger)
        return []

    def _take_request(self, message: Message, now_s: float) -> list[Publication]:
        """Change the pairs; the answer follows when the change has taken effect."""
        if message.retain:
            raise Rejected("a retained request may be of any age: publish requests without the retain flag")
        if message.response_topic is not None and ANSWER.parse(message.response_topic) is None:
            raise Rejected(f"{message.response_topic!r} is not a response topic of this component: {ANSWER.template.text}")
        publications, answer = self._settle(now_s), PairAnswer(None)
        try:
            request = REQUEST.decode(message)
            answer, changed = self._change(request)
            publications += self._publish_pairs(changed, now_s)
        except (Rejected, PairRefused) as error:
            if message.response_topic is None:
                raise Rejected(str(error)) from error
            answer = PairAnswer(None, error=str(error))
        return publications if message.response_topic is None else [*publications, _answer(message, answer)]

    def _change(self, request: PairRequest) -> tuple[PairAnswer, Pairs]:
        charger, widget, before = request.charger, request.widget, dict[str, str]()

        def edit(pairs: Mapping[str, str]) -> dict[str, str]:
            before.update(pairs)
            if request.action is PairAction.UNPAIR:
                return without_pair(pairs, charger)
            if widget is None:
                raise PairRefused("to pair a charger, name its widget")
            return with_pair(pairs, charger, widget)

        pairs = self._store.change(edit)
        status = "unpaired" if request.action is PairAction.UNPAIR else "already paired" if charger in before else "paired"
        return PairAnswer(request.action, status, charger, pairs.pairs.get(charger) or before[charger]), pairs

    def _forget(self, message: Message, now_s: float) -> list[Publication]:
        """Remove a charger: its session ends, and its widget becomes unavailable.

        Raises:
            Rejected: it is connected.
        """
        charger = read_forget(message, "charger")
        if charger is None:
            return []
        state = self._chargers.get(charger)
        if self._links.connectivity(charger) in (Connectivity.CONNECTED, Connectivity.UNCERTAIN):
            raise Rejected(f"charger {charger!r} is connected: disconnect it first")
        publications: list[Publication] = []
        if state is not None:
            publications = self._becomes(charger, disconnect(state, rfc3339(self._calendar(now_s))))
            self._remove(charger)
            self._unsettled.pop(charger, None)
        self._links.remove(charger)
        self._points.pop(charger, None)
        return [*publications, *(removal(each, charger) for each in (STATE, CHARGER_LINK, CHARGE_POINT))]

    def _update(self, chargers: Iterable[str], retained: bool, now_s: float) -> list[Publication]:
        if not retained:
            return [each for charger in chargers for each in self._apply_connectivity(charger, now_s)]
        for charger in chargers:
            self._defer(charger)
        return []

    def _defer(self, charger: str) -> None:
        self._unsettled[charger] = None
        self._restoring = True

    def _settle(self, now_s: float) -> list[Publication]:
        """Apply retained messages once all have arrived: a live one has come, or none between two ticks."""
        if not self._unsettled:
            return []
        unsettled, self._unsettled = self._unsettled, {}
        publications = self._apply_pairs(unsettled, now_s)
        return publications + [each for charger in unsettled for each in self._apply_connectivity(charger, now_s)]

    def _apply_connectivity(self, charger: str, now_s: float) -> list[Publication]:
        connectivity, widget = self._links.connectivity(charger), self._pairs.get(charger)
        point = self._points.get(charger)
        if (widget is None and point is None) or connectivity is Connectivity.UNKNOWN:
            return []
        state = self._chargers.get(charger) or ChargerState(state="offline", widget=widget)
        if connectivity is Connectivity.CONNECTED:
            self._grace.cancel(charger)
            state = replace(state, state="online")
            state = state if point is None else follow(state, point)
        elif connectivity is Connectivity.DISCONNECTED:
            state = replace(state, state="offline")
        if not is_ended(state):
            self._start_grace(charger, now_s)
        return self._becomes(charger, Change(state))

    def _start_grace(self, charger: str, now_s: float) -> None:
        if (grace_s := _GRACE_S.get(self._links.connectivity(charger))) is not None:
            self._grace.start(charger, now_s, grace_s * self._time_scale)

    def _publish_pairs(self, pairs: Pairs | None, now_s: float) -> list[Publication]:
        changed = pairs is not None and pairs.pairs != self._pairs
        if pairs is not None:
            self._pairs = pairs.pairs
        if self._pairs_published and not changed:
            return []
        self._pairs_published = True
        publications = [PAIRS.publication(Pairs(self._pairs))]
        return publications + self._apply_pairs(self._chargers, now_s) if changed else publications

    def _apply_pairs(self, chargers: Iterable[str], now_s: float) -> list[Publication]:
        """Update the widgets of those chargers whose widget has changed, or that have none any more."""
        known = ((charger, state) for charger in chargers if (state := self._chargers.get(charger)))
        moved = {charger: state for charger, state in known if state.widget != self._pairs.get(charger)}
        if not moved:
            return []
        changes = {charger: self._moved(charger, state, now_s) for charger, state in moved.items()}
        for charger, change in changes.items():
            self._chargers[charger] = change.state
            if charger not in self._pairs and charger not in self._points:
                self._remove(charger)
        publications = self._status_of_moved(moved.values(), [self._pairs[each] for each in moved if each in self._pairs])
        publications += [_session(charger, each) for charger, change in changes.items() for each in change.sessions]
        return publications + [_state(charger, change.state) for charger, change in changes.items()]

    def _moved(self, charger: str, state: ChargerState, now_s: float) -> Change:
        widget = self._pairs.get(charger)
        if widget is None and charger not in self._points:
            return unpair(state, rfc3339(self._calendar(now_s)))
        return Change(replace(state, widget=widget))

    def _status_of_moved(self, before: Iterable[ChargerState], widgets: Iterable[str]) -> list[Publication]:
        """Publish the status of each widget that was assigned or unassigned, if it differs from the one published last."""
        published = {state.widget: state.status for state in before if state.widget is not None}
        affected = dict.fromkeys([*published, *widgets])
        chargers = {widget: charger for charger, widget in self._pairs.items() if widget in affected}
        publications = []
        for widget in affected:
            state = self._chargers.get(chargers.get(widget, ""))
            status = state.status if state else Status.UNAVAILABLE
            if status is not published.get(widget, Status.UNAVAILABLE):
                publications.append(_status(widget, status))
        return publications

    def _remove(self, charger: str) -> None:
        del self._chargers[charger]
        self._links.remove(charger)
        self._grace.cancel(charger)
        self._redelivery.remove(charger)

    def _disconnected(self, charger: str, state: ChargerState, since_s: float) -> Change:
        if charger in self._points:
            return Change(go_offline(state))
        return disconnect(state, rfc3339(self._calendar(since_s)))

    def _becomes(self, charger: str, change: Change) -> list[Publication]:
        """Take over a charger's new state, and publish what changed."""
        before, state = self._chargers.get(charger), change.state
        self._chargers[charger] = state
        shown = before.status if before else Status.UNAVAILABLE
        publications = [] if state.status is shown else _statuses(state)
        publications += [_session(charger, each) for each in change.sessions]
        return publications if before and _is_same(before, state) else [*publications, _state(charger, state)]


def _is_same(one: ChargerState, other: ChargerState) -> bool:
    """Return whether two states differ at most in the instant of the same state of charge."""
    return one == other or replace(one, soc_at=other.soc_at) == other


def _statuses(state: ChargerState) -> list[Publication]:
    return [] if state.widget is None else [_status(state.widget, state.status)]


def _status(widget: str, status: Status) -> Publication:
    return STATUS.publication(status_event(status), id=widget)


def _answer(request: Message, answer: PairAnswer) -> Publication:
    topic, content = request.response_topic or "", encode(answer)
    return Publication(topic=topic, payload=content, correlation_data=request.correlation_data)


def _session(charger: str, session: ChargingSession) -> Publication:
    return SESSION.publication(session, id=charger)


def _state(charger: str, state: ChargerState) -> Publication:
    return STATE.publication(state, id=charger)
