"""What users of other thermostats report, played in rooms that answer late: silence, setback, a boiler that is off, summer.

Each scenario runs the shipped controller of one room for one or two plant days and gives figures; `verdict` compares them with
what the spec demands. The rooms are those of `tests/bench/late_rooms.py` without sun, people and windows, so that a room above
its setpoint was brought there by the controller.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from controllers.heating.modes import Alarm, Mode
from controllers.heating.room import Decision, RoomControl
from controllers.heating.sensor import Reason
from tests.bench.late_rooms import Late, LateRoom, late_sensors

DAY_MIN = 24 * 60
SETTLED_MIN = 3 * 60
COMFORT_C, SETBACK_C = 22.0, 18.0
EVENING_MIN, MORNING_MIN = 22 * 60, 30 * 60
BOILER_OFF_MIN, BOILER_ON_MIN = 12 * 60, 15 * 60
BAND_C = 0.5
WARM_OUTDOOR_C, WARM_START_C = 25.0, 24.0


@dataclass
class Run:
    """What was recorded, per minute: true temperature, °C, and the decision."""

    temperatures_c: list[float] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def in_band_pct(self, first: int, end: int) -> float:
        """Return the share of these minutes with the true temperature within 0.5 K of the setpoint, percent."""
        pairs = zip(self.temperatures_c[first:end], self.decisions[first:end], strict=True)
        return 100 * sum(abs(c - each.setpoint_c) <= BAND_C for c, each in pairs) / (end - first)

    def highest_over_c(self, first: int, end: int) -> float:
        """Return the largest excess over the setpoint in these minutes, K; zero if there is none."""
        pairs = zip(self.temperatures_c[first:end], self.decisions[first:end], strict=True)
        return max(0.0, *(c - each.setpoint_c for c, each in pairs))

    def alarms(self, first: int, end: int) -> set[Alarm]:
        """Return all alarms of these minutes."""
        return {alarm for each in self.decisions[first:end] for alarm in each.alarms}


def undisturbed(room: LateRoom) -> LateRoom:
    """Return the room without sun, people, windows and faults."""
    return replace(room, sun_w=0.0, people_w=0.0, window_w_k=0.0, faults=())


def play(room: LateRoom, minutes: int, before: Callable[[int, Late, RoomControl], None] | None = None) -> Run:
    """Run the shipped controller; `before` may change plant and control ahead of each minute."""
    plant, control, sensors = Late(room), RoomControl(0.0), late_sensors(room)
    run = Run()
    for minute in range(1, minutes + 1):
        if before:
            before(minute, plant, control)
        plant.step(60)
        for each in sensors:
            if (value_c := each.read(plant.air_c, minute)) is not None:
                control.read(each.name, value_c, minute * 60.0)
        decision = control.decide(minute * 60.0)
        plant.level_pct = decision.level
        run.temperatures_c.append(plant.air_c)
        run.decisions.append(decision)
    return run


def silence(room: LateRoom) -> dict[str, float]:
    """Sensors report only changes, and for hours there are none: they are not stale, and the room is held."""
    still = replace(undisturbed(room), sensors="on change", outdoor_swing_c=0.0)
    run = play(still, DAY_MIN)
    settled = run.decisions[SETTLED_MIN:]
    return {
        "in band %": run.in_band_pct(SETTLED_MIN, DAY_MIN),
        "without sensors %": 100 * sum(each.mode in (Mode.HOLDING, Mode.SAFE) for each in settled) / len(settled),
        "stale %": 100 * sum(Reason.STALE in each.fused.left_out.values() for each in settled) / len(settled),
    }


def setback(room: LateRoom) -> dict[str, float]:
    """The setpoint falls by 4 K at 22:00 and rises at 6:00."""

    def change(minute: int, plant: Late, control: RoomControl) -> None:
        control.setpoint_c = SETBACK_C if EVENING_MIN <= minute < MORNING_MIN else COMFORT_C

    run = play(undisturbed(room), 2 * DAY_MIN, change)
    night_c, morning_c = run.temperatures_c[EVENING_MIN:MORNING_MIN], run.temperatures_c[MORNING_MIN:]
    reached = next((minute for minute, c in enumerate(morning_c) if c >= COMFORT_C - BAND_C), len(morning_c))
    fastest = _fastest_min(undisturbed(room), run, MORNING_MIN)
    return {
        "over in the morning K": run.highest_over_c(MORNING_MIN, 2 * DAY_MIN),
        "under at night K": max(0.0, SETBACK_C - min(night_c)),
        "time ÷ full heat": reached / fastest,
        "in band after %": run.in_band_pct(MORNING_MIN + 2 * fastest + 60, 2 * DAY_MIN),
    }


def _fastest_min(room: LateRoom, run: Run, from_min: int) -> int:
    """Return the minutes that full heat needs from there to the lower end of the band, at most twelve hours."""
    plant = Late(room)
    for decision in run.decisions[:from_min]:
        plant.step(60)
        plant.level_pct = decision.level
    plant.level_pct = 100
    for minute in range(12 * 60):
        if plant.air_c >= COMFORT_C - BAND_C:
            return max(1, minute)
        plant.step(60)
    return 12 * 60


def boiler_off(room: LateRoom) -> dict[str, float]:
    """There is no hot water from 12:00 to 15:00."""

    def switch(minute: int, plant: Late, control: RoomControl) -> None:
        plant.boiler_on = not BOILER_OFF_MIN <= minute < BOILER_ON_MIN

    run = play(undisturbed(room), 2 * DAY_MIN, switch)
    fastest = _fastest_min(undisturbed(room), run, BOILER_ON_MIN)
    before, after = run.decisions[BOILER_OFF_MIN - 1].identified, run.decisions[BOILER_ON_MIN + 360].identified
    return {
        "over after return K": run.highest_over_c(BOILER_ON_MIN, 2 * DAY_MIN),
        "dead valve": float(Alarm.NO_RISE in run.alarms(BOILER_OFF_MIN, BOILER_ON_MIN + 60)),
        "rate after ÷ before": after.rate_c_h / before.rate_c_h if before and after else 0.0,
        "in band after %": run.in_band_pct(BOILER_ON_MIN + 2 * fastest + 60, 2 * DAY_MIN),
    }


def summer(room: LateRoom) -> dict[str, float]:
    """Outdoors it is 23 to 27 °C, so indoors never below the setpoint: the valve stays closed."""
    warm = replace(undisturbed(room), outdoor_mean_c=WARM_OUTDOOR_C, outdoor_swing_c=2.0, start_c=WARM_START_C)
    hot = replace(warm, sun_w=15 * (room.air_loss_w_k + room.wall_loss_w_k))
    runs = [play(each, DAY_MIN) for each in (warm, hot)]
    return {
        "highest level %": float(max(each.level for run in runs for each in run.decisions)),
        "alarms": float(sum(len(run.alarms(0, DAY_MIN)) for run in runs)),
    }


SCENARIOS: dict[str, Callable[[LateRoom], dict[str, float]]] = {
    "silence": silence,
    "setback": setback,
    "boiler off": boiler_off,
    "summer": summer,
}

LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "silence": {"in band %": (95, 100), "without sensors %": (0, 0), "stale %": (0, 0)},
    "setback": {
        "over in the morning K": (0, 0.5),
        "under at night K": (0, 0.5),
        "time ÷ full heat": (0, 3),
        "in band after %": (95, 100),
    },
    "boiler off": {
        "over after return K": (0, 0.5),
        "dead valve": (0, 0),
        "rate after ÷ before": (0.5, 2),
        "in band after %": (95, 100),
    },
    "summer": {"highest level %": (0, 0), "alarms": (0, 0)},
}
"""Lowest and highest value that is right, of each figure."""


def verdict(scenario: str, figures: dict[str, float]) -> list[str]:
    """Return the figures outside their limits, in words."""
    limits = LIMITS[scenario]
    return [
        f"{name} {value:.2f}, not {limits[name][0]:g} to {limits[name][1]:g}"
        for name, value in figures.items()
        if not limits[name][0] <= value <= limits[name][1]
    ]
