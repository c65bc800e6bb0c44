"""The setpoint of a thermostatic valve by which the room is held: an outer loop around the loop in the device. Pure.

A valve that takes only a setpoint controls the temperature at its own sensor, which sits at the radiator: warmer than the room
by an amount that depends on the heat, and the inner loop has its own droop. So the device is set to the room's setpoint plus a
PI correction of the room's error. The integral learns the difference; it stands still where it could only wind up: on the way
to another setpoint, at a limit, and while a window is open.
"""

from dataclasses import dataclass

GAIN = 1.0
"""K of the device's setpoint per K of the room's error."""
RESET_S = 2400.0
NEAR_C, APPROACH_C_H, SPEED_S = 1.0, 0.3, 1800.0
"""Farther from the setpoint, the integral stands still while the room approaches it at this speed, K/h, over `SPEED_S`; no
error counts for more than `NEAR_C`."""
MOST_BIAS_C = 8.0
STEP_C, MOVE_C = 0.5, 0.35
"""Devices take steps of half a degree; another one is sent when the wanted value is farther than `MOVE_C` from it."""
LOWEST_C, HIGHEST_C = 5.0, 30.0
LONGEST_S = 900.0
"""Plant seconds for which a temperature counts as the present one."""
WINDOW = "window open"
"""Mode of a room in which its valves are to be closed."""


@dataclass(slots=True)
class OuterLoop:
    """The loop of one room. `bias_c` is its integral, which a restarted one continues from."""

    bias_c: float = 0.0
    set_c: float | None = None
    """What the device is set to."""
    _setpoint_c: float = 0.0
    _error_c: float | None = None
    _mode: str = ""
    _taken_s: float = 0.0
    _now_s: float | None = None
    _mark: tuple[float, float] | None = None
    """A time and the error then, by which the speed of the room is measured."""
    _approaches: bool = False

    def take(self, setpoint_c: float, temperature_c: float | None, mode: str, now_s: float) -> float:
        """Take the state of the room; return what the device is to be set to, °C."""
        self._advance(now_s)
        error_c = None if temperature_c is None else setpoint_c - temperature_c
        if error_c is None or setpoint_c != self._setpoint_c or self._mark is None:
            self._mark = None if error_c is None else (now_s, error_c)
            self._approaches = error_c is not None and setpoint_c != self._setpoint_c
        elif now_s - self._mark[0] >= SPEED_S:
            speed_c_h = (abs(self._mark[1]) - abs(error_c)) * 3600 / (now_s - self._mark[0])
            self._approaches, self._mark = speed_c_h >= APPROACH_C_H, (now_s, error_c)
        self._setpoint_c, self._mode, self._taken_s, self._error_c = setpoint_c, mode, now_s, error_c
        return self._decide()

    def tick(self, now_s: float) -> float | None:
        """Let plant time pass; return what the device is to be set to, None before the first state of the room."""
        if self._now_s is None:
            return None
        self._advance(now_s)
        return self._decide()

    def _advance(self, now_s: float) -> None:
        """Integrate the error since the last call."""
        before_s, self._now_s = self._now_s, now_s
        if before_s is None or self._error_c is None or self._mode == WINDOW or now_s - self._taken_s > LONGEST_S:
            return
        wanted_c = self._wanted()
        saturated = (wanted_c >= HIGHEST_C and self._error_c > 0) or (wanted_c <= LOWEST_C and self._error_c < 0)
        if saturated or (abs(self._error_c) > NEAR_C and self._approaches):
            return
        error_c = min(max(self._error_c, -NEAR_C), NEAR_C)
        bias_c = self.bias_c + GAIN * error_c * min(now_s - before_s, LONGEST_S) / RESET_S
        self.bias_c = min(max(bias_c, -MOST_BIAS_C), MOST_BIAS_C)

    def _wanted(self) -> float:
        return self._setpoint_c + GAIN * (self._error_c or 0.0) + self.bias_c

    def _decide(self) -> float:
        wanted_c = LOWEST_C if self._mode == WINDOW else min(max(self._wanted(), LOWEST_C), HIGHEST_C)
        if self.set_c is None or abs(wanted_c - self.set_c) > MOVE_C:
            self.set_c = round(wanted_c / STEP_C) * STEP_C
        return self.set_c
