"""A model that is wrong swings a late room; the guard, which does not use it, ends that."""

import dataclasses
import itertools

import numpy as np
import pytest

from controllers.heating.model import DEAD_S, Beliefs, RoomModel
from controllers.heating.modes import Alarm
from controllers.heating.oscillation import OscillationGuard
from tests.bench.heating_users import DAY_MIN, Run, play, undisturbed
from tests.bench.late_rooms import late_room


def day_with_a_wrong_model(seed: int, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Play a day with a rate that is five times too low, and with the shortest dead time only."""
    beliefs = RoomModel.beliefs

    def wrong(model: RoomModel, setpoint_c: float) -> Beliefs:
        right = beliefs(model, setpoint_c)
        weight = np.where(DEAD_S.min() >= DEAD_S, right.weight + 1e-9, 0.0) * np.ones_like(right.weight)
        return dataclasses.replace(right, weight=weight / weight.sum(), rate_c_s=right.rate_c_s / 5)

    monkeypatch.setattr(RoomModel, "beliefs", wrong)
    return play(dataclasses.replace(undisturbed(late_room(seed)), sensors="every minute"), DAY_MIN)


def travel_pct(run: Run, first: int, end: int) -> int:
    return sum(abs(b.level - a.level) for a, b in itertools.pairwise(run.decisions[first:end]))


@pytest.mark.parametrize("seed", [1002, 1009, 1012, 1018])
def test_a_wrong_model_does_not_swing_the_room_for_long(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = day_with_a_wrong_model(seed, monkeypatch)
    assert travel_pct(run, 8 * 60, 12 * 60) < 60
    assert travel_pct(run, 12 * 60, DAY_MIN) < 60
    assert run.decisions[-1].alarms == (Alarm.OSCILLATION,)


def test_without_the_guard_it_swings_all_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OscillationGuard, "update", lambda *_: None)
    assert travel_pct(day_with_a_wrong_model(1002, monkeypatch), 12 * 60, DAY_MIN) > 1000
