import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.fastening.catalog import InvalidCatalog, check_catalog
from controllers.fastening.entries import EXAMPLES, PARTS, SERIALS, STEPS
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
        ({"steps": [screw(min=10.6)]}, ["steps.json, entry 1 (line 1)", "torque.min 10.6", "torque.max 10.5"]),
        ({"steps": [screw(target=9.4)]}, ["steps.json, entry 1 (line 1)", "torque.target 9.4"]),
        ({"steps": [screw(target=10.51)]}, ["steps.json, entry 1 (line 1)", "torque.target 10.51"]),
        ({"steps": [screw(min=0)]}, ["steps.json, entry 1 (line 1)", "above 0"]),
        ({"steps": [screw(max="10.5")]}, ["steps.json, entry 1 (line 1)", "torque.max"]),
        ({"steps": [screw(max=True)]}, ["steps.json, entry 1 (line 1)", "torque.max"]),
        (
            {"steps": [screw(), screw()]},
            ["steps.json: step 1 of part 10-00045 revision B (partId 7) is in entry 1 (line 1) and entry 2 (line 1): keep one"],
        ),
        ({"steps": [{"partId": 7, "step": 1}]}, ["steps.json, entry 1 (line 1)", "torque"]),
        ({"steps": [{**screw(), "step": 0}]}, ["steps.json, entry 1 (line 1)", "step"]),
        ({"steps": [screw(), "garbage"]}, ["steps.json, entry 2 (line 1)"]),
        ({"steps": {}}, ["steps.json: must be a list in square brackets"]),
        ({"serials": [{"partId": 7}]}, ["serials.json, entry 1 (line 1)", "serialNumber"]),
        ({"serials": [{"serialNumber": "", "partId": 7}]}, ["serials.json, entry 1 (line 1)", "serialNumber"]),
        ({"serials": [{"serialNumber": " RP-1", "partId": 7}]}, ["serials.json, entry 1 (line 1)", "serialNumber"]),
        ({"serials": [{"serialNumber": "RP\x1b1", "partId": 7}]}, ["serials.json, entry 1 (line 1)", "serialNumber"]),
        ({"steps": [{**screw(), "step": 3_000_000_000}]}, ["steps.json, entry 1 (line 1)", "step"]),
        ({"steps": [screw(max=9e299)]}, ["steps.json, entry 1 (line 1)", "at most 1,000,000 N·m"]),
        ({"serials": [{"serialNumber": 5, "partId": 7}]}, ["serials.json, entry 1 (line 1)", "serialNumber"]),
        (
            {"serials": GOOD[SERIALS] * 2},
            ["serials.json: serial number RP-1 is in entry 1 (line 1) and entry 2 (line 1): keep one of them"],
        ),
        ({"parts": [{"partId": "7", "partNumber": "10", "revision": "B"}]}, ["parts.json, entry 1 (line 1)", "partId"]),
        ({"parts": [{"partId": 7, "partNumber": "10"}]}, ["parts.json, entry 1 (line 1)", "revision"]),
        (
            {"parts": [{"partId": n, "partNumber": "10", "revision": "B"} for n in (7, 8)]},
            ["parts.json: part 10 revision B is in entry 1 (line 1) and entry 2 (line 1): keep one"],
        ),
    ],
)
def test_an_error_names_file_entry_and_field(changed: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(InvalidCatalog) as error:
        check_catalog(files(**changed))
    for text in named:
        assert text in str(error.value)


def test_mistakes_name_their_line_also_beside_others() -> None:
    content = json.dumps([{"partId": 7}, screw(), {**screw(min=11), "step": 2}, screw()], indent=1)
    with pytest.raises(InvalidCatalog) as error:
        check_catalog({**files(), STEPS: b"\xef\xbb\xbf" + content.encode()}, "/catalog")
    assert str(error.value).splitlines() == [
        "the torque catalog in /catalog cannot be used:",
        f"  steps.json, entry 1 (line 2), partId 7: step is missing: add it, as in {EXAMPLES[STEPS]}",
        f"  steps.json, entry 1 (line 2), partId 7: torque is missing: add it, as in {EXAMPLES[STEPS]}",
        "  steps.json: step 1 of part 10-00045 revision B (partId 7) is in entry 2 (line 5) and entry 4 (line 23): "
        "keep one of them, or number the steps of the part 1, 2, 3",
        "  steps.json, entry 3 (line 14), step 2 of part 10-00045 revision B (partId 7): torque.min 11 is above "
        "torque.max 10.5: correct one of them",
    ]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            {"partId": 7, "step": "1", "torque": {}},
            'step must be a whole number from 1 to 1,000,000, without quotation marks, not "1"',
        ),
        ({"partId": 7, "step": 1, "torque": 5}, "torque must be an object with target, min and max, not 5"),
        ({"partId": 7, "step": 1, "torque": {"min": 1, "max": 2}}, "torque.target is missing: add it"),
        (
            {"partId": 7.5, "step": 1, "torque": screw()["torque"]},
            "partId must be a whole number without quotation marks, not 7.5",
        ),
        (["x" * 500], "must be an object in braces such as"),
    ],
)
def test_wrong_fields_are_named_in_sentences(entry: Any, sentence: str) -> None:
    with pytest.raises(InvalidCatalog) as error:
        check_catalog(files(steps=[entry]))
    assert sentence in str(error.value)
    assert "$" not in str(error.value)
    assert max(map(len, str(error.value).splitlines())) < 300


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["partId", "step", "torque", "min", "max", "target"]), inner, max_size=4)
        ),
    )
)
def test_any_entry_is_accepted_or_named(entry: Any) -> None:
    try:
        check_catalog({**files(), STEPS: json.dumps([entry], indent=1).encode("utf-8", "replace")})
    except InvalidCatalog as error:
        assert "steps.json" in str(error)  # noqa: PT017 - most are refused


def test_deep_nesting_is_no_crash() -> None:
    with pytest.raises(InvalidCatalog, match=r"steps\.json"):
        check_catalog({**files(), STEPS: b"[" * 900 + b"]" * 900})


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(InvalidCatalog) as error:
        check_catalog(files(serials=[{}], parts=[{}], steps=[{}] * 30))
    assert {name for name in GOOD if name in str(error.value)} == set(GOOD)
    assert "and 75 more" in str(error.value)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (
            {"serials": [*GOOD[SERIALS], {"serialNumber": "RP-2", "partId": 8}]},
            "serials.json, entry 2 (line 1): serial number RP-2 has partId 8, which parts.json does not have",
        ),
        ({"steps": []}, "parts.json, entry 1 (line 1): part 10-00045 revision B (partId 7) has no steps: add them"),
        (
            {"steps": [*GOOD[STEPS], {**screw(), "partId": 9}]},
            "steps.json, entry 3 (line 1): step 1 is one of partId 9, which parts.json does not have",
        ),
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
