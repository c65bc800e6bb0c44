import dataclasses
import itertools
import statistics

import pytest

from sim.machines.model import CONDUCT, Machine, MachineParameters, Phase, random_machine

QUIET = dataclasses.replace(MachineParameters(), temperature_noise_c=0.0, fan_noise_rpm=0.0)


def play(machine: Machine, hours: float, dt_s: float = 10.0) -> list[tuple[Phase, float, float]]:
    found = []
    for _ in range(int(hours * 3600 / dt_s)):
        machine.step(dt_s)
        found.append((machine.phase, machine.temperature_c, machine.fan_rpm))
    return found


def test_it_starts_idle_at_ambient_temperature() -> None:
    machine = Machine(QUIET)
    assert (machine.phase, machine.temperature_c, machine.fan_rpm) == (Phase.IDLE, QUIET.ambient_c, QUIET.slowest_rpm)


def test_phases_follow_their_order() -> None:
    phases = [phase for phase, _, _ in play(Machine(QUIET), 48)]
    steps = {(a, b) for a, b in itertools.pairwise(phases) if a is not b}
    assert steps == {
        (Phase.IDLE, Phase.WARM_UP),
        (Phase.WARM_UP, Phase.WORK),
        (Phase.WORK, Phase.DONE),
        (Phase.WORK, Phase.FAULT),
        (Phase.DONE, Phase.IDLE),
        (Phase.FAULT, Phase.IDLE),
    }


def test_phases_last_within_their_limits() -> None:
    phases = [phase for phase, _, _ in play(Machine(QUIET), 48)]
    runs: list[tuple[Phase, int]] = []
    for phase in phases:
        runs = [*runs[:-1], (phase, runs[-1][1] + 10)] if runs and runs[-1][0] is phase else [*runs, (phase, 10)]
    for phase, lasted_s in runs[1:-1]:
        assert CONDUCT[phase].shortest_s <= lasted_s <= CONDUCT[phase].longest_s + 10


def test_temperature_and_fan_follow_the_phase() -> None:
    found = play(Machine(QUIET), 48)
    warm = statistics.fmean(temperature for phase, temperature, _ in found if phase is Phase.WORK)
    cool = statistics.fmean(temperature for phase, temperature, _ in found if phase is Phase.IDLE)
    fast = statistics.fmean(fan for phase, _, fan in found if phase is Phase.WORK)
    slow = statistics.fmean(fan for phase, _, fan in found if phase is Phase.IDLE)
    hottest = max(temperature for phase, temperature, _ in found if phase is Phase.FAULT)
    assert warm > cool + 20
    assert fast > 1.5 * slow
    assert hottest > max(temperature for phase, temperature, _ in found if phase is Phase.WORK)


def test_temperature_changes_are_continuous() -> None:
    temperatures = [temperature for _, temperature, _ in play(Machine(QUIET), 24)]
    steps = [abs(b - a) for a, b in itertools.pairwise(temperatures)]
    assert max(steps) < 4
    assert statistics.fmean(steps) < 0.1 * statistics.stdev(temperatures)


def test_sensors_have_noise_and_two_decimals() -> None:
    machine = Machine(MachineParameters())
    found = [machine.measured() for _ in range(500)]
    assert statistics.stdev(temperature for temperature, _ in found) == pytest.approx(0.08, abs=0.02)
    assert all(round(value, 2) == value for pair in found for value in pair)


def test_a_step_of_zero_changes_nothing() -> None:
    machine = Machine(QUIET, seed=3)
    machine.step(0.0)
    assert (machine.temperature_c, machine.fan_rpm) == (QUIET.ambient_c, QUIET.slowest_rpm)


@pytest.mark.parametrize("seed", range(30))
def test_every_machine_stays_in_its_range(seed: int) -> None:
    parameters = random_machine(seed)
    for _, temperature, fan in play(Machine(parameters, seed), 12):
        assert parameters.ambient_c - 1 < temperature < 130
        assert 0 <= fan <= parameters.fastest_rpm


def test_the_same_seed_gives_the_same_machine() -> None:
    assert random_machine(7) == random_machine(7) != random_machine(8)
    assert play(Machine(QUIET, 1), 2) == play(Machine(QUIET, 1), 2) != play(Machine(QUIET, 2), 2)
