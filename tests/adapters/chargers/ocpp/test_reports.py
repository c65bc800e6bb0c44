from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.chargers.ocpp.reports import Sample, instant, samples
from tests.adapters.chargers.ocpp.calls import NOW, NOW_TEXT, at, energy

KEYS = ("value", "measurand", "unit", "unitOfMeasure", "multiplier", "sampledValue", "timestamp", "phase", "location", "format")


def read(*values: Any) -> list[tuple[float | None, float | None]]:
    found = samples([{"timestamp": at(0), "sampledValue": list(values)}], NOW)
    return [(each.register_kwh, each.soc) for each in found]


@pytest.mark.parametrize(
    ("value", "kwh"),
    [
        (energy("1500"), 1.5),
        (energy("1.5", "kWh"), 1.5),
        (energy(1500, None), 1.5),
        ({"value": "1500"}, 1.5),  # the default measurand and unit
        ({"value": 15, "unitOfMeasure": {"unit": "Wh", "multiplier": 2}}, 1.5),
        ({"value": 1.5, "unitOfMeasure": {"unit": "kWh"}}, 1.5),
        (energy("1500", context="Error"), 1.5),
        (energy("0"), 0.0),
    ],
)
def test_energy_registers_are_read(value: dict[str, Any], kwh: float) -> None:
    assert read(value) == [(kwh, None)]


@pytest.mark.parametrize(
    "value",
    [
        {"value": "50.1", "measurand": "Frequency", "unit": "Hz"},
        energy("abc"),
        energy("nan"),
        energy("inf"),
        energy(True),
        energy(None),
        energy("-1"),
        energy("1", "V"),
        energy("1500", format="SignedData"),
        {"value": "101", "measurand": "SoC"},
        {},
        7,
    ],
)
def test_other_values_are_left_out(value: Any) -> None:
    assert read(value) == []
    assert read(value, energy("1500")) == [(1.5, None)]


def test_the_sum_over_the_phases_is_preferred() -> None:
    phases = [energy(str(each), phase=f"L{each}") for each in (1, 2, 3)]
    assert read(*phases, energy("9000", location="Inlet"), energy("6000")) == [(6.0, None)]


def test_a_state_of_charge_is_read() -> None:
    assert read({"value": "40", "measurand": "SoC", "unit": "Percent"}, energy("10")) == [(0.01, 40.0)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00.000000Z"),
        ("2026-01-31T10:00:00.5+01:00", "2026-01-31T09:00:00.500000Z"),
        ("2026-01-31T10:00:00", "2026-01-31T10:00:00.000000Z"),
        ("yesterday", NOW_TEXT),
        (None, NOW_TEXT),
        (1769853600, NOW_TEXT),
        ("0001-01-01T00:00:00+14:00", NOW_TEXT),
    ],
)
def test_instants_are_read(text: object, wanted: str) -> None:
    assert instant(text, NOW) == wanted


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(KEYS), each, max_size=5),
    max_leaves=12,
)


@given(json_values)
def test_no_json_breaks_it(value: Any) -> None:
    for each in samples(value, NOW) + samples([value], NOW) + samples([{"sampledValue": value}], NOW):
        assert isinstance(each, Sample)
