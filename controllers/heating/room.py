"""Control of one room: from sensor readings to a valve level, with the reasons. Pure."""

from dataclasses import dataclass

from controllers.heating.climb import Climb
from controllers.heating.fusion import Fused, Fusion
from controllers.heating.heat import HeatWatch
from controllers.heating.law import IDENTIFIED_DOUBT, Demand, apply_dead_band, demand
from controllers.heating.model import Identified, Knowledge, RoomModel, identified
from controllers.heating.modes import (
    FROST_C,
    FROST_LEVEL_PCT,
    FROST_OVER_C,
    FROST_SETPOINT_C,
    HIGHEST_PLAUSIBLE_C,
    LONGEST_HOLD_S,
    LONGEST_SILENCE_S,
    LOWEST_PLAUSIBLE_C,
    QUIET_S,
    SAFE_HIGHEST_PCT,
    STUCK_HIGHEST_PCT,
    WARM_C,
    WARM_KNOWN_S,
    WINDOW_OTHER_SENSORS_C,
    Alarm,
    KnowledgeHistory,
    Mode,
    NoRiseDetector,
    WindowDetector,
    highest_pct,
    is_unresponsive,
    safe_pct,
)
from controllers.heating.oscillation import Oscillation, OscillationGuard
from controllers.heating.sensor import Reason
from controllers.heating.silence import SilenceWatch

DEFAULT_SETPOINT_C = 22.0
HEATED_PCT = 30

_NOTHING = Fused(room_c=None, used=(), left_out={}, unmoved_s=0.0, proven=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """A valve level with its reasons."""

    level: int
    mode: Mode
    setpoint_c: float
    fused: Fused
    demand: Demand
    identified: Identified | None
    alarms: tuple[Alarm, ...]
    oscillation: Oscillation | None = None
    """Set while the damped PI law holds the room."""


class RoomControl:
    """Holds one room at its setpoint.

    Attributes:
        setpoint_c: wanted temperature, °C, 5 to 35.
        decided: whether there was a decision yet.
        decided_s: plant time of the last decision, or of the start.
        level: present valve level, 0..100.
    """

    __slots__ = (
        "_climb",
        "_demand",
        "_frost",
        "_fused",
        "_fusion",
        "_guard",
        "_heat",
        "_heat_watch",
        "_heated_s",
        "_held",
        "_history",
        "_hold",
        "_is_known",
        "_known",
        "_last_reading_s",
        "_model",
        "_moving_pct",
        "_rise",
        "_seen_s",
        "_silence",
        "_window",
        "decided",
        "decided_s",
        "level",
        "setpoint_c",
    )  # fmt: skip

    def __init__(self, now_s: float, setpoint_c: float = DEFAULT_SETPOINT_C) -> None:
        self.setpoint_c = setpoint_c
        self.level = self._moving_pct = 0
        self.decided = False
        self.decided_s = self._last_reading_s = self._seen_s = now_s
        self._known: Identified | None = None
        self._fusion, self._model = Fusion(), RoomModel()
        self._window, self._rise, self._history = WindowDetector(), NoRiseDetector(), KnowledgeHistory()
        self._demand = Demand(proportional_pct=0.0, integral_pct=SAFE_HIGHEST_PCT)
        self._silence, self._climb = SilenceWatch(), Climb()
        self._guard, self._heat_watch = OscillationGuard(), HeatWatch()
        self._held: Knowledge | None = None
        self._frost = self._is_known = False
        self._heated_s = self._heat = self._hold = 0.0
        self._fused = _NOTHING

    @property
    def last_reading_s(self) -> float:
        """Plant time of the last reading, or of the start if there was none."""
        return self._last_reading_s

    def read(self, sensor: str, value_c: float, now_s: float) -> bool:
        """Take a reading in °C, finite; return False if the room has too many sensors already."""
        self._last_reading_s = now_s
        return self._fusion.read(sensor, value_c, now_s)

    def restore(
        self,
        level: int,
        identified: Identified | None = None,
        oscillation: Oscillation | None = None,
        integral_pct: float = 0.0,
    ) -> None:
        """Continue where an earlier run stopped; without effect after the first decision.

        Args:
            level: valve level that is set, 0..100.
            identified: parameters identified by the earlier run, if known.
            oscillation: what the earlier run's guard measured, if the PI law was in charge.
            integral_pct: integral part of that law, percent.
        """
        if self.decided:
            return
        self.level = self._moving_pct = level
        if oscillation is not None:
            self._guard.restore(oscillation, integral_pct)
        if identified is not None:
            self._known = identified
            self._demand = Demand(proportional_pct=0.0, integral_pct=identified.hold_pct)

    def decide(self, now_s: float) -> Decision:
        """Decide the valve level; call it about every minute.

        Args:
            now_s: plant time, s, never before the last one.
        """
        dt_s, self.decided_s, self.decided = now_s - self.decided_s, now_s, True
        self._heated_s = self._heated_s + dt_s if self.level >= HEATED_PCT else 0.0
        fused = self._fusion.fuse(now_s)
        if is_unresponsive(fused, self.setpoint_c, self._heated_s) or self._is_dead(fused, dt_s):
            self._fusion.distrust(fused.used)
            fused = self._fusion.fuse(now_s)
        if fused.room_c is None:
            return self._decide_without_temperature(fused, dt_s, now_s, Alarm.NO_SENSOR)
        if fused.room_c > HIGHEST_PLAUSIBLE_C:
            return self._decide_without_temperature(fused, dt_s, now_s, Alarm.TOO_HOT)
        self._seen_s = now_s
        return self._decide_with_temperature(fused, fused.room_c, dt_s, now_s)

    def _is_dead(self, fused: Fused, dt_s: float) -> bool:
        """Return whether sensors that report only changes should have reported one."""
        if fused.quiet_c is None:
            self._silence.hear(self._hold)
            return False
        return self._silence.update(self._heat, self._model.rate_c_s, fused.quiet_c, dt_s)

    def _decide_without_temperature(self, fused: Fused, dt_s: float, now_s: float, alarm: Alarm) -> Decision:
        self._model.advance(self.level, dt_s, None)
        self._guard.pause()
        stuck = Reason.STUCK in fused.left_out.values()
        held_s = now_s - self._seen_s + (self._fused.unmoved_s if stuck else 0.0)
        if held_s < LONGEST_HOLD_S and now_s - self._last_reading_s < LONGEST_SILENCE_S:
            mode, self.level = Mode.HOLDING, min(self.level, STUCK_HIGHEST_PCT if stuck else 100)
        else:
            mode, self.level = Mode.SAFE, 0 if self._was_warm(now_s) else round(safe_pct(self._demand.integral_pct))
        return self._decision(mode, fused, (alarm,))

    def _was_warm(self, now_s: float) -> bool:
        """Return whether the room was far above its setpoint, not long ago."""
        warm = self._fused.room_c is not None and self._fused.room_c >= self.setpoint_c + WARM_C
        return warm and now_s - self._seen_s < WARM_KNOWN_S

    def _decide_with_temperature(self, fused: Fused, room_c: float, dt_s: float, now_s: float) -> Decision:
        if fused.used != self._fused.used and abs(room_c - (self._fused.room_c or room_c)) > WINDOW_OTHER_SENSORS_C:
            self._window.clear()
        self._fused = fused
        window_open = self._update_model(room_c, dt_s, now_s)
        self._frost = room_c < (FROST_OVER_C if self._frost else FROST_C)
        setpoint_c = max(self.setpoint_c, FROST_SETPOINT_C) if self._frost else self.setpoint_c
        beliefs = self._model.beliefs(setpoint_c)
        self._demand, self._known = demand(beliefs, setpoint_c, rare=fused.rare), identified(beliefs)
        self._is_known = self._is_known or self._demand.doubt < IDENTIFIED_DOUBT
        self._climb.update(
            self.level, setpoint_c - room_c, fused.trend_c_s, beliefs.felt_s, dt_s, rare=fused.rare, known=self._is_known
        )
        self._heat, self._hold = beliefs.mean(beliefs.heat), beliefs.mean(beliefs.hold)
        self._watch_heat(room_c, setpoint_c - room_c, dt_s)
        self._guard.update(room_c, setpoint_c, self.level, dt_s)
        if self._heat_watch.disturbs:
            self._guard.pause()
        if (law := self._guard.law) is not None:
            law_s = 0.0 if self._heat_watch.disturbs else dt_s
            self._demand = Demand(law.update(setpoint_c - room_c, self.level, law_s), law.integral_pct)
        if fused.unmoved_s < QUIET_S:
            self._moving_pct = self.level
        mode = Mode.FROST if self._frost else Mode.WINDOW_OPEN if window_open else Mode.HEATING
        self.level = apply_dead_band(self.level, self._wanted_pct(mode, fused), self._model.rate_c_s)
        no_rise = self._rise.update(0 if self._heat_watch.disturbs else self.level, room_c, now_s)
        alarms = [Alarm.NO_HEAT] if self._heat_watch.lost else [Alarm.NO_RISE] if no_rise else []
        alarms += [Alarm.TOO_COLD] if room_c < LOWEST_PLAUSIBLE_C else []
        return self._decision(mode, fused, tuple(alarms))

    def _watch_heat(self, room_c: float, error_c: float, dt_s: float) -> None:
        """Take back what was learned while the heat failed to arrive."""
        was_below, was_lost = self._heat_watch.below, self._heat_watch.lost
        self._heat_watch.update(room_c, error_c, self._heat, self._hold, dt_s)
        if not self._heat_watch.below:
            self._held = None
        elif not was_below:
            self._held = self._history.before()
        if self._heat_watch.lost and not was_lost and self._held is not None:
            self._model.restore(self._held)
            self._model.set_room_temperature(room_c)

    def _wanted_pct(self, mode: Mode, fused: Fused) -> float:
        if mode is Mode.WINDOW_OPEN:
            return 0.0
        evident_pct = highest_pct(fused, self.setpoint_c, self._moving_pct)
        wanted_pct = min(self._demand.wanted_pct, self._climb.highest_pct, evident_pct)
        return max(wanted_pct, FROST_LEVEL_PCT) if mode is Mode.FROST else wanted_pct

    def _update_model(self, room_c: float, dt_s: float, now_s: float) -> bool:
        """Update the model, and return whether a window is open: then nothing is learned."""
        if not self._model.started:
            self._model.start(room_c, self.setpoint_c, self.level, self._known)
            self._is_known = self._known is not None
            if not self._is_known:
                self._climb.start(self.level)
            return False
        if self._heat_watch.disturbs:
            self._model.advance(self.level, dt_s, None)
            self._model.set_room_temperature(room_c)
            self._window.clear()
            return False
        if self._fused.rare:
            self._window.clear()
        was_disturbed = self._window.disturbs(now_s)
        measured_c = None if was_disturbed else self._fused.measured_c
        self._model.advance(self.level, dt_s, measured_c, self._fused.noise_c)
        window_open = self._window.update(room_c, self._model.innovation_c, self._model.rate_c_s, now_s)
        if window_open and not was_disturbed and (before := self._history.before()):
            self._model.restore(before)
        if window_open or was_disturbed:
            self._model.set_room_temperature(room_c)
        else:
            self._history.keep(self._model.knowledge(), now_s)
        return window_open

    def _decision(self, mode: Mode, fused: Fused, alarms: tuple[Alarm, ...]) -> Decision:
        oscillation = self._guard.oscillation
        alarms += (Alarm.OSCILLATION,) if oscillation else ()
        return Decision(self.level, mode, self.setpoint_c, fused, self._demand, self._known, alarms, oscillation)
