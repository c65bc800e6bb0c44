"""An ideal controller of a room that answers late: it knows what no real one can, so what it misses, nothing could reach.

It knows the room, its true state, the heat in the pipe, the curve of the valve, and present weather, sun and people. It does
not know the future: it takes the present gains as constant, and an open window as closed in a minute. Every minute it chooses
the level that, if held, brings the room to the setpoint a horizon after the dead time. The best of three horizons counts.
"""

from itertools import islice

from tests.bench.late_day import MINUTES, LateDay, Trace, has_power, summary
from tests.bench.late_rooms import STEP_S, STEPS_PER_MINUTE, Late, LateRoom, late_room
from tests.bench.laws import SETPOINT_C

HORIZONS_MIN = (10, 20, 40)

Vector = list[float]


def play_ideal(seed: int) -> LateDay | None:
    """Run the ideal controller in the room of a seed; None if the room lacks the power."""
    room = late_room(seed)
    if not has_power(room):
        return None
    days = [summary(seed, ideal_trace(room, horizon)) for horizon in HORIZONS_MIN]
    return max(days, key=lambda day: (day.in_band_pct, -day.overshoot_c))


def ideal_trace(room: LateRoom, horizon_min: int) -> Trace:
    """Run one day with a horizon in minutes."""
    plant = Late(room)
    effects, by_pipe, by_heat = _functional(room, len(plant.pipe), horizon_min * STEPS_PER_MINUTE)
    shares = [room.curve(level / 100) for level in range(101)]
    result, carried = Trace([], []), 0.0
    for _ in range(MINUTES):
        plant.step(60)
        air_w, wall_w, floor_w = plant.gains_w()
        state = (plant.air_c, plant.wall_c, plant.floor_c, plant.heat, air_w, wall_w, floor_w)
        expected_c = sum(map(float.__mul__, effects, state)) + sum(map(float.__mul__, by_pipe, plant.pipe))
        wanted = min(1.0, max(0.0, (SETPOINT_C - expected_c) / by_heat))
        # what a whole number of percent leaves over is given in the next minutes
        level = min(range(101), key=lambda each: abs(shares[each] - wanted - carried))
        carried = min(1.0, max(-1.0, carried + wanted - shares[level]))
        plant.level_pct = level
        result.temperatures_c.append(plant.air_c)
        result.levels.append(level)
    return result


def _functional(room: LateRoom, dead_steps: int, horizon_steps: int) -> tuple[Vector, Vector, float]:
    """Return how the temperature at the horizon depends on state, on the heat in the pipe (oldest first), and on the level."""
    adjoint: Vector = [1.0, 0.0, 0.0, 0.0]
    gains: Vector = [0.0, 0.0, 0.0]
    inputs: Vector = []
    for _ in range(dead_steps + horizon_steps):
        air, wall, floor, heat = adjoint
        per_air, per_wall, per_floor = STEP_S / room.air_j_k, STEP_S / room.wall_j_k, STEP_S / room.floor_j_k
        gains = [gains[0] + air * per_air, gains[1] + wall * per_wall, gains[2] + floor * per_floor]
        # heat after its own step acts on air and wall in the same step
        heat += room.power_w * ((1 - room.radiant) * per_air * air + room.radiant * per_wall * wall)
        inputs.append(heat * STEP_S / room.radiator_lag_s)
        loss = room.air_loss_w_k + room.air_wall_w_k + room.air_floor_w_k
        adjoint = [
            air * (1 - loss * per_air) + wall * room.air_wall_w_k * per_wall + floor * room.air_floor_w_k * per_floor,
            air * room.air_wall_w_k * per_air + wall * (1 - (room.air_wall_w_k + room.wall_loss_w_k) * per_wall),
            air * room.air_floor_w_k * per_air + floor * (1 - room.air_floor_w_k * per_floor),
            heat * (1 - STEP_S / room.radiator_lag_s),
        ]
    by_pipe = list(islice(reversed(inputs), dead_steps))
    return [*adjoint, *gains], by_pipe, sum(inputs[:horizon_steps])
