"""How well the loop of each system works, from the states and events that its controller publishes. Pure.

Readings are not among them: thousands a second may come. All labels have a bounded set of values: things are counted, never
named. Counts begin with the start of this component; Prometheus takes counters that begin again at 0 for what they are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from broker.contract.charging import topics as charging
from broker.contract.energy import topics as energy
from broker.contract.fastening import topics as fastening
from broker.contract.heating import topics as heating
from broker.contract.heating.questions import BAND_K
from broker.errors import Rejected
from broker.message import Message
from broker.stream import AnyStream

MOST_THINGS = 100_000
"""Rooms, chargers, ships or drivers that are followed; the controllers' own limits are lower."""
MOST_LABELS = 20
"""Values of a label that comes from a text, such as an alarm; what exceeds it is counted as `OTHER`."""
OTHER = "other"
SILENT_S = 3_600.0
"""Plant seconds: the heating decides every minute, so a room without a state for this long is no longer controlled."""

T = TypeVar("T")


class System(Protocol):
    """One system, as far as its metrics need it."""

    streams: tuple[AnyStream, ...]

    def take(self, message: Message, now_s: float) -> None:
        """Take a message of one of the `streams`; `now_s` is plant time.

        Raises:
            Rejected: it cannot be read.
        """
        ...

    def metrics(self, now_s: float) -> Iterator[Metric]:
        """Yield the metrics at a plant time."""
        ...


class _Damped(msgspec.Struct, frozen=True):
    """A law that replaced one that oscillated; nothing of it is needed."""


class Glance(msgspec.Struct, frozen=True):
    """What is read of a room's state: quicker than all of it."""

    mode: str
    error: float | None = None
    alarms: tuple[str, ...] = ()
    sensors_left_out: dict[str, str] = {}
    oscillation: _Damped | None = None


@dataclass(frozen=True, slots=True)
class _Room:
    state: Glance
    at_s: float


class Heating:
    """Rooms: how many are held within the band, in which mode, and with which alarms."""

    streams: tuple[AnyStream, ...] = (heating.STATE,)

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._decoder = msgspec.json.Decoder(Glance)

    def take(self, message: Message, now_s: float) -> None:
        """Take the state of a room; an empty one means that the room is forgotten."""
        room = _level(heating.STATE, message)
        if not message.payload:
            self._rooms.pop(room, None)
        elif room in self._rooms or len(self._rooms) < MOST_THINGS:
            self._rooms[room] = _Room(_read(self._decoder, message), now_s)

    def metrics(self, now_s: float) -> Iterator[Metric]:
        """Yield the metrics of all rooms."""
        states = [each.state for each in self._rooms.values() if now_s - each.at_s <= SILENT_S]
        errors = [abs(each.error) for each in states if each.error is not None]
        yield _labelled("scaup_heating_rooms", "Rooms under control", "mode", Counter(each.mode for each in states))
        yield GaugeMetricFamily("scaup_heating_rooms_measured", "Rooms with a trusted temperature.", len(errors))
        text = f"Rooms within {BAND_K} K of their setpoint."
        yield GaugeMetricFamily("scaup_heating_rooms_in_band", text, sum(each <= BAND_K for each in errors))
        mean_k = sum(errors) / len(errors) if errors else 0.0
        yield GaugeMetricFamily("scaup_heating_mean_error_kelvin", "Mean absolute distance from the setpoint.", mean_k)
        yield GaugeMetricFamily("scaup_heating_worst_error_kelvin", "Largest of them.", max(errors, default=0.0))
        alarms = Counter(alarm for each in states for alarm in each.alarms)
        yield _labelled("scaup_heating_alarms", "Alarms of rooms now", "alarm", alarms)
        alarmed = sum(bool(each.alarms) for each in states)
        yield GaugeMetricFamily("scaup_heating_rooms_with_alarm", "Rooms with an alarm.", alarmed)
        damped = sum(each.oscillation is not None for each in states)
        text = "Rooms whose loop oscillated, and is damped now."
        yield GaugeMetricFamily("scaup_heating_rooms_oscillating", text, damped)
        left_out = Counter(reason for each in states for reason in each.sensors_left_out.values())
        yield _labelled("scaup_heating_sensors_left_out", "Sensors that are not trusted now", "reason", left_out)
        silent = len(self._rooms) - len(states)
        yield GaugeMetricFamily("scaup_heating_rooms_silent", "Rooms without a state for an hour of plant time.", silent)


class Fastening:
    """Results of fastening, jobs, and the links of torque drivers."""

    streams: tuple[AnyStream, ...] = (fastening.EVENT, fastening.LINK)

    def __init__(self) -> None:
        self._results = dict.fromkeys(("in range", "out of range"), 0)
        self._jobs: Counter[str] = Counter(started=0, complete=0, cancelled=0)
        self._connected: dict[str, bool] = {}
        self._events = msgspec.json.Decoder(_FasteningGlance)
        self._links = msgspec.json.Decoder(_Link)

    def take(self, message: Message, _now_s: float) -> None:
        """Take an event of a job, or the state of a driver's link."""
        if fastening.EVENT.parse(message.topic):
            event = _read(self._events, message).event
            if event in self._results:
                self._results[event] += 1
            elif event.startswith("job ") and event[4:] in self._jobs:
                self._jobs[event[4:]] += 1
        else:
            _keep(self._connected, _level(fastening.LINK, message), self._links, message, lambda link: link.connected)

    def metrics(self, _now_s: float) -> Iterator[Metric]:
        """Yield the metrics of all drivers."""
        yield _labelled("scaup_fastening_results", "Fastened screws", "result", self._results, counter=True)
        yield _labelled("scaup_fastening_jobs", "Jobs, by what happened to them", "event", self._jobs, counter=True)
        drivers = Counter("connected" if each else "disconnected" for each in self._connected.values())
        yield _labelled("scaup_fastening_drivers", "Torque drivers", "link", {"connected": 0, "disconnected": 0, **drivers})


class _FasteningGlance(msgspec.Struct, frozen=True):
    event: str


class _Link(msgspec.Struct, frozen=True):
    connected: bool


class _Running(msgspec.Struct, frozen=True):
    """A running session; nothing of it is needed."""


class _ChargerGlance(msgspec.Struct, frozen=True):
    state: str
    session: _Running | None = None


class _SessionGlance(msgspec.Struct, frozen=True):
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class _Charger:
    online: bool
    charging: bool


class Charging:
    """Chargers and their sessions."""

    streams: tuple[AnyStream, ...] = (charging.STATE, charging.SESSION)

    def __init__(self) -> None:
        self._chargers: dict[str, _Charger] = {}
        self._sessions: Counter[str] = Counter({"begun": 0, **{each.value: 0 for each in charging.EndedBy}})
        self._states = msgspec.json.Decoder(_ChargerGlance)
        self._ends = msgspec.json.Decoder(_SessionGlance)

    def take(self, message: Message, _now_s: float) -> None:
        """Take the state of a charger, or the beginning or end of a session."""
        if charging.STATE.parse(message.topic):
            name = _level(charging.STATE, message)
            _keep(self._chargers, name, self._states, message, _charger)
        else:
            event = _read(self._ends, message).ended_by or "begun"
            self._sessions[event if event in self._sessions else OTHER] += 1

    def metrics(self, _now_s: float) -> Iterator[Metric]:
        """Yield the metrics of all chargers."""
        online = sum(each.online for each in self._chargers.values())
        links = {"connected": online, "disconnected": len(self._chargers) - online}
        yield _labelled("scaup_charging_chargers", "Chargers", "link", links)
        charging_now = sum(each.online and each.charging for each in self._chargers.values())
        yield GaugeMetricFamily("scaup_charging_chargers_charging", "Chargers with a session that runs.", charging_now)
        text = "Charging sessions, by what happened to them"
        yield _labelled("scaup_charging_sessions", text, "event", self._sessions, counter=True)


def _charger(state: _ChargerGlance) -> _Charger:
    return _Charger(state.state == "online", state.session is not None)


class _QuarterGlance(msgspec.Struct, frozen=True):
    datetime: str
    quality: str
    value: float | None


class _IntervalGlance(msgspec.Struct, frozen=True):
    data: list[_QuarterGlance]


class _AnomalyGlance(msgspec.Struct, frozen=True):
    kind: str


class Energy:
    """Quarters of an hour: how many, of which quality, how many late, and anomalies."""

    streams: tuple[AnyStream, ...] = (energy.INTERVAL, energy.ANOMALY)

    def __init__(self) -> None:
        self._newest: dict[str, str] = {}
        """Beginning of the newest quarter of each ship."""
        qualities = (energy.MEASURED, energy.PARTIAL, energy.ESTIMATED, "withdrawn")
        self._quarters: Counter[str] = Counter(dict.fromkeys(qualities, 0))
        self._anomalies: Counter[str] = Counter(outlier=0, missing=0, flat=0, negative=0)
        self._late = 0
        self._intervals = msgspec.json.Decoder(_IntervalGlance)
        self._kinds = msgspec.json.Decoder(_AnomalyGlance)

    def take(self, message: Message, _now_s: float) -> None:
        """Take new or changed quarters of a ship, or an anomaly."""
        if energy.ANOMALY.parse(message.topic):
            kind = _read(self._kinds, message).kind
            self._anomalies[kind if kind in self._anomalies else OTHER] += 1
            return
        ship = _level(energy.INTERVAL, message)
        newest = self._newest.get(ship, "")
        for each in _read(self._intervals, message).data:
            quality = "withdrawn" if each.value is None else each.quality
            self._quarters[quality if quality in self._quarters else OTHER] += 1
            self._late += each.datetime < newest
            newest = max(newest, each.datetime)
        if ship in self._newest or len(self._newest) < MOST_THINGS:
            self._newest[ship] = newest

    def metrics(self, _now_s: float) -> Iterator[Metric]:
        """Yield the metrics of all ships."""
        yield GaugeMetricFamily("scaup_energy_ships", "Ships with quarters since the start.", len(self._newest))
        text = "Quarters that were new or have changed"
        yield _labelled("scaup_energy_quarters", text, "quality", self._quarters, counter=True)
        yield CounterMetricFamily("scaup_energy_late_quarters", "Those of them before the ship's newest one.", self._late)
        yield _labelled("scaup_energy_anomalies", "Anomalies", "kind", self._anomalies, counter=True)


def systems() -> list[System]:
    """Return one of each system."""
    return [Heating(), Charging(), Energy(), Fastening()]


def _level(stream: AnyStream, message: Message) -> str:
    """Return the name in the topic."""
    (name,) = (stream.parse(message.topic) or {"": message.topic}).values()
    return name


def _read(decoder: "msgspec.json.Decoder[T]", message: Message) -> T:
    try:
        return decoder.decode(message.payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected(f"{message.topic} cannot be read: {error}") from error


def _keep(known: dict[str, Any], name: str, decoder: Any, message: Message, kept: Any) -> None:
    """Keep the newest value of a thing; an empty payload means that it is forgotten."""
    if not message.payload:
        known.pop(name, None)
    elif name in known or len(known) < MOST_THINGS:
        known[name] = kept(_read(decoder, message))


def _labelled(name: str, text: str, label: str, counts: Mapping[str, int], counter: bool = False) -> Metric:
    """Return a metric with one label."""
    family: Any = (CounterMetricFamily if counter else GaugeMetricFamily)(name, f"{text}.", labels=[label])
    for value, count in sorted(_bounded(counts)):
        family.add_metric([value], count)
    return family  # type: ignore[no-any-return]


def _bounded(counts: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    """Return the largest counts by themselves and all others as one."""
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    kept: Counter[str] = Counter()
    for place, (value, count) in enumerate(ordered):
        kept[value[:60] if place < MOST_LABELS else OTHER] += count
    return kept.items()
