"""Loop quality of each system, from the payloads that the controllers publish."""

from typing import Any

import msgspec
import pytest

from adapters.web.broker import TOPICS, BrokerFigures
from adapters.web.declaration import BROKER_FILTERS, SYSTEM_STREAMS
from adapters.web.systems import MOST_LABELS, SILENT_S, Charging, Energy, Fastening, Heating, System, systems
from broker.contract.charging.topics import ChargerState, ChargingSession, EndedBy, Running
from broker.contract.energy.topics import Anomaly, Intervals, Quarter
from broker.contract.fastening.topics import DriverLink, FasteningEvent, Happening
from broker.contract.heating.topics import DampedOscillation, HeatingState
from broker.errors import Rejected
from broker.message import Message, encode
from broker.mqtt.topics import matches
from tests.adapters.web.test_overview import samples

EVENT = FasteningEvent(
    event=Happening.IN_RANGE,
    job="j",
    serial="s",
    part_number="p",
    revision="a",
    step=1,
    target_nm=5,
    min_nm=4,
    max_nm=6,
)


def give(system: System, topic: str, payload: Any, now_s: float = 0.0) -> None:
    system.take(Message(topic=topic, payload=b"" if payload is None else encode(payload)), now_s)


def found(system: System, now_s: float = 0.0) -> dict[tuple[str, str], float]:
    return samples([*system.metrics(now_s)])


def room(**changed: Any) -> HeatingState:
    return msgspec.structs.replace(HeatingState(level=10, setpoint=21.0, mode="heating", error=0.1), **changed)


def test_every_declared_stream_has_one_system() -> None:
    assert [*SYSTEM_STREAMS] == [stream for each in systems() for stream in each.streams]


def test_rooms_in_band_include_both_ends_of_it() -> None:
    heating = Heating()
    for name, error in (("a", 0.5), ("b", -0.5), ("c", 0.51), ("d", None)):
        give(heating, f"heating/{name}/state", room(error=error))
    values = found(heating)
    assert values["scaup_heating_rooms", "heating"] == 4
    assert values["scaup_heating_rooms_measured", ""] == 3
    assert values["scaup_heating_rooms_in_band", ""] == 2
    assert values["scaup_heating_worst_error_kelvin", ""] == 0.51


def test_alarms_and_sensors_left_out_are_counted_by_kind() -> None:
    heating = Heating()
    for name in ("a", "b"):
        damped = DampedOscillation(period_s=600, amplitude_c=0.5, gain_pct_c=10, reset_s=900)
        left_out = {"s1": "stale", "s2": "stuck"}
        state = room(alarms=("no trustworthy sensor",), oscillation=damped, sensors_left_out=left_out)
        give(heating, f"heating/{name}/state", state)
    values = found(heating)
    assert values["scaup_heating_alarms", "no trustworthy sensor"] == 2
    assert values["scaup_heating_sensors_left_out", "stale"] == 2
    assert values["scaup_heating_rooms_with_alarm", ""] == 2
    assert values["scaup_heating_rooms_oscillating", ""] == 2


def test_a_room_that_is_forgotten_or_silent_does_not_count() -> None:
    heating = Heating()
    for name in ("a", "b"):
        give(heating, f"heating/{name}/state", room())
    give(heating, "heating/b/state", None)
    assert found(heating)["scaup_heating_rooms", "heating"] == 1
    late = found(heating, SILENT_S + 1)
    assert ("scaup_heating_rooms", "heating") not in late
    assert late["scaup_heating_rooms_silent", ""] == 1


def test_ten_thousand_rooms_make_no_more_series_than_one() -> None:
    heating = Heating()
    for number in range(10_000):
        give(heating, f"heating/room-{number}/state", room(mode=f"mode {number % 50}"))
    values = found(heating)
    assert len(values) < 2 * MOST_LABELS
    assert sum(value for (name, _), value in values.items() if name == "scaup_heating_rooms") == 10_000


def test_results_jobs_and_drivers_of_fastening() -> None:
    fastening = Fastening()
    for event in (Happening.IN_RANGE, Happening.OUT_OF_RANGE, Happening.IN_RANGE, Happening.COMPLETE, Happening.SILENT):
        give(fastening, "fastening/driver-1/event", msgspec.structs.replace(EVENT, event=event))
    give(fastening, "torque/driver-1/link", DriverLink(True, "ws://d"))
    give(fastening, "torque/driver-2/link", DriverLink(False, "ws://d", "refused"))
    values = found(fastening)
    assert values["scaup_fastening_results_total", "in range"] == 2
    assert values["scaup_fastening_results_total", "out of range"] == 1
    assert values["scaup_fastening_jobs_total", "complete"] == 1
    assert values["scaup_fastening_drivers", "connected"] == 1
    assert values["scaup_fastening_drivers", "disconnected"] == 1


def test_chargers_and_sessions() -> None:
    charging = Charging()
    running = Running("s", "2026-01-01T00:00:00Z", 10, 20)
    give(charging, "chargers/a/state", ChargerState(state="online", widget="w", session=running))
    give(charging, "chargers/b/state", ChargerState(state="offline", widget="w", session=running))
    give(charging, "chargers/c/state", ChargerState(state="online", widget="w"))
    session = ChargingSession(session="s", widget="w", started_at="2026-01-01T00:00:00Z", soc_start=10)
    give(charging, "chargers/a/session", session)
    give(charging, "chargers/a/session", msgspec.structs.replace(session, ended_by=EndedBy.CHARGED))
    values = found(charging)
    assert values["scaup_charging_chargers", "connected"] == 2
    assert values["scaup_charging_chargers_charging", ""] == 1
    assert values["scaup_charging_sessions_total", "begun"] == 1
    assert values["scaup_charging_sessions_total", "charged"] == 1


def test_quarters_late_quarters_and_anomalies() -> None:
    energy = Energy()
    quarters = [Quarter(f"2026-01-01T00:{minute}:00Z", 1.0, "measured", 1.0) for minute in ("15", "30", "00")]
    give(energy, "energy/1/interval", Intervals(1, tuple(quarters)))
    give(energy, "energy/1/interval", Intervals(1, (Quarter("2026-01-01T00:30:00Z", None, "partial", 0.0),)))
    give(energy, "energy/1/anomaly", Anomaly(1, "2026-01-01T00:30:00Z", "flat", 1.0, None, "text"))
    values = found(energy)
    assert values["scaup_energy_quarters_total", "measured"] == 3
    assert values["scaup_energy_quarters_total", "withdrawn"] == 1
    assert values["scaup_energy_late_quarters_total", ""] == 1
    assert values["scaup_energy_anomalies_total", "flat"] == 1


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"[" * 5_000])
def test_an_unreadable_event_is_rejected(payload: bytes) -> None:
    with pytest.raises(Rejected, match="cannot be read"):
        Fastening().take(Message(topic="fastening/d/event", payload=payload), 0.0)


def test_figures_of_the_broker() -> None:
    broker = BrokerFigures()
    broker.take("$SYS/broker/uptime", b"42 seconds")
    broker.take("$SYS/broker/clients/connected", b"17")
    broker.take("$SYS/broker/publish/messages/dropped", b"3")
    broker.take("$SYS/broker/load/anything", b"1.5")
    broker.take("$SYS/broker/version", b"mosquitto version 2.0.11")
    assert broker.version == "mosquitto version 2.0.11"
    assert samples([*broker.metrics()]) == {
        ("scaup_broker_uptime_seconds", ""): 42,
        ("scaup_broker_connections", ""): 17,
        ("scaup_broker_publications_dropped_total", ""): 3,
    }


def test_the_declared_filters_select_all_figures_of_the_broker() -> None:
    assert not [topic for topic in TOPICS if not any(matches(each, topic) for each in BROKER_FILTERS)]
