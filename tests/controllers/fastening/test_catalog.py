import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controllers.fastening.catalog import PARTS, SERIALS, STEPS, InvalidCatalog, check_catalog
from controllers.fastening.files import read_catalog

GOOD: dict[str, list[Any]] = {
    SERIALS: [{"serialNumber": "RP-1", "partId": 7}],
    PARTS: [{"partId": 7, "partNumber": "10-00045", "revision": "B"}],
    STEPS: [
        {"partId": 7, "step": 2, "torque": {"target": 13, "min": 13, "max": 13}},
        {"partId": 7, "step": 1, "torque": {"target": 10.0, "min": 9.5, "max": 10.5}},
    ],
}


def files(**changed: Any) -> dict[str, bytes]:
    return {name: json.dumps(changed.get(name.removesuffix(".json"), rows)).encode() for name, rows in GOOD.items()}


def screw(**changed: Any) -> dict[str, Any]:
    return {"partId": 7, "step": 1, "torque": {"target": 10.0, "min": 9.5, "max": 10.5} | changed}


def test_steps_are_sorted() -> None:
    checked = check_catalog(files())
    assert [step.step for step in checked.catalog.parts[0].steps] == [1, 2]
    assert checked.incomplete == ()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"steps": [screw(min=10.6)]}, ["steps.json entry 1", "torque.min 10.6", "torque.max 10.5"]),
        ({"steps": [screw(target=9.4)]}, ["steps.json entry 1", "torque.target 9.4"]),
        ({"steps": [screw(target=10.51)]}, ["steps.json entry 1", "torque.target 10.51"]),
        ({"steps": [screw(min=0)]}, ["steps.json entry 1", "above 0"]),
        ({"steps": [screw(max="10.5")]}, ["steps.json entry 1", "torque.max"]),
        ({"steps": [screw(max=True)]}, ["steps.json entry 1", "torque.max"]),
        ({"steps": [screw(), screw()]}, ["steps.json entries 1, 2", "partId and step 7 and 1"]),
        ({"steps": [{"partId": 7, "step": 1}]}, ["steps.json entry 1", "torque"]),
        ({"steps": [{**screw(), "step": 0}]}, ["steps.json entry 1", "step"]),
        ({"steps": [screw(), "garbage"]}, ["steps.json entry 2"]),
        ({"steps": {}}, ["steps.json", "array"]),
        ({"serials": [{"partId": 7}]}, ["serials.json entry 1", "serialNumber"]),
        ({"serials": [{"serialNumber": "", "partId": 7}]}, ["serials.json entry 1", "serialNumber"]),
        ({"serials": [{"serialNumber": " RP-1", "partId": 7}]}, ["serials.json entry 1", "serialNumber"]),
        ({"serials": [{"serialNumber": "RP\x1b1", "partId": 7}]}, ["serials.json entry 1", "serialNumber"]),
        ({"steps": [{**screw(), "step": 3_000_000_000}]}, ["steps.json entry 1", "step"]),
        ({"steps": [screw(max=9e299)]}, ["steps.json entry 1", "1e+06"]),
        ({"serials": [{"serialNumber": 5, "partId": 7}]}, ["serials.json entry 1", "serialNumber"]),
        ({"serials": GOOD[SERIALS] * 2}, ["serials.json entries 1, 2", "serialNumber RP-1"]),
        ({"parts": [{"partId": "7", "partNumber": "10", "revision": "B"}]}, ["parts.json entry 1", "partId"]),
        ({"parts": [{"partId": 7, "partNumber": "10"}]}, ["parts.json entry 1", "revision"]),
        (
            {"parts": [{"partId": n, "partNumber": "10", "revision": "B"} for n in (7, 8)]},
            ["parts.json entries 1, 2", "partNumber and revision 10 and B"],
        ),
    ],
)
def test_an_error_names_file_entry_and_field(changed: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(InvalidCatalog) as error:
        check_catalog(files(**changed))
    for text in named:
        assert text in str(error.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(InvalidCatalog) as error:
        check_catalog(files(serials=[{}], parts=[{}], steps=[{}] * 30))
    assert {name for name in GOOD if name in str(error.value)} == set(GOOD)
    assert "and 12 more" in str(error.value)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"serials": [*GOOD[SERIALS], {"serialNumber": "RP-2", "partId": 8}]}, "serials.json entry 2: partId 8 of RP-2"),
        ({"steps": []}, "parts.json entry 1: partId 7 has no steps"),
        ({"steps": [*GOOD[STEPS], {**screw(), "partId": 9}]}, "steps.json entry 3: partId 9"),
    ],
)
def test_incomplete_entries_do_not_stop_the_others(changed: dict[str, Any], named: str) -> None:
    assert [text for text in check_catalog(files(**changed)).incomplete if named in text]


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"[{]"), lambda path: path.write_bytes(b"\xff")]
)
def test_an_error_names_the_unreadable_file(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
    assert len(read_catalog(str(tmp_path)).serials) == 1
    damage(tmp_path / PARTS)
    with pytest.raises(InvalidCatalog, match=r"parts\.json"):
        read_catalog(str(tmp_path))


def test_the_shipped_catalog_is_complete_and_realistic() -> None:
    catalog = read_catalog("")
    assert len(catalog.serials) >= 20
    assert len({part.part_number for part in catalog.parts}) >= 6
    assert len(catalog.parts) > len({part.part_number for part in catalog.parts}), "several revisions"
    assert {len(part.steps) for part in catalog.parts} >= {1, 8}
