"""The catalog: the part of each serial number, and the fastening steps of each part.

An entry that cannot be read, or could let a screw be fastened wrongly, makes the whole catalog invalid. An incomplete entry
does not stop the line: a serial number without a part, or a part without steps, is logged, and refused at the start of a job.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from broker.contract.fastening.topics import Catalog, Part, SerialNumber, Step, Torque
from broker.errors import InvalidSetting, Rejected
from broker.message import convert, decode_json, without_byte_order_mark
from controllers.fastening.entries import EXAMPLES, PARTS, SERIALS, STEPS, StepNumber, Text, known, lines, mistakes

R = TypeVar("R")
LARGEST_TORQUE_NM = 1e6
MOST_NAMED = 20
"""Mistakes that an error lists."""
_MOST_PLACES = 5


class InvalidCatalog(InvalidSetting):
    """A catalog that cannot be used; the text names file, entry and field of each mistake."""


class _Serial(msgspec.Struct, frozen=True):
    serial: Text = msgspec.field(name="serialNumber")
    part_id: int = msgspec.field(name="partId")


class _Part(msgspec.Struct, frozen=True):
    part_id: int = msgspec.field(name="partId")
    part_number: Text = msgspec.field(name="partNumber")
    revision: Text


class _Range(msgspec.Struct, frozen=True):
    target: Torque
    min: Torque
    max: Torque


class _Step(msgspec.Struct, frozen=True):
    part_id: int = msgspec.field(name="partId")
    step: StepNumber
    torque: _Range


Entry = tuple[str, R]
"""The place of an entry, such as `steps.json, entry 3 (line 12)`, and its content."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A valid catalog, and its incomplete entries, one sentence each."""

    catalog: Catalog
    incomplete: tuple[str, ...]


def check_catalog(files: dict[str, bytes], folder: str = "") -> Checked:
    """Read the three files, given by name; `folder` is where they are, for people.

    Raises:
        InvalidCatalog: a file is not a JSON array, an entry has another shape, two entries have the same key, or a torque range
            is wrong: min > max, the target outside of it, not above 0 or not finite.
    """
    wrong: list[str] = []
    serials = _entries(files, SERIALS, _Serial, wrong)
    parts = _entries(files, PARTS, _Part, wrong)
    steps = _entries(files, STEPS, _Step, wrong)
    names = {part.part_id: _part_name(part) for _, part in parts}
    wrong += _doubled(serials, lambda each: f"serial number {each.serial}", SERIALS, "keep one of them")
    wrong += _doubled(parts, lambda each: f"partId {each.part_id}", PARTS, "give each part a partId of its own")
    wrong += _doubled(
        parts,
        lambda each: f"part {each.part_number} revision {each.revision}",
        PARTS,
        "keep one, with its partId",
    )
    wrong += _doubled(
        steps, lambda each: _step_name(each, names), STEPS, "keep one of them, or number the steps of the part 1, 2, 3"
    )
    wrong += [f"{place}, {_step_name(step, names)}: {text}" for place, step in steps if (text := _range_error(step.torque))]
    if wrong:
        more = f"\n  and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        where = f" in {folder}" if folder else ""
        raise InvalidCatalog(f"the torque catalog{where} cannot be used:\n  " + "\n  ".join(wrong[:MOST_NAMED]) + more)
    catalog = _catalog([each for _, each in serials], [each for _, each in parts], [each for _, each in steps])
    return Checked(catalog, tuple(_incomplete(serials, parts, steps)))


def _entries(files: dict[str, bytes], name: str, shape: type[R], wrong: list[str]) -> list[Entry[R]]:
    """Return the entries of a file that can be read, each with its place for people; add the mistakes of the others."""
    try:
        content = without_byte_order_mark(files[name])
        found = decode_json(content)
    except Rejected as error:
        wrong.append(f"{name}: {str(error).replace('not JSON: ', 'is not JSON: ')}: correct the file there")
        return []
    if not isinstance(found, list):
        wrong.append(f"{name}: must be a list in square brackets, with an entry such as {EXAMPLES[name]}")
        return []
    on_lines = lines(content.decode())
    entries = []
    for number, each in enumerate(found, 1):
        place = f"{name}, entry {number}" + (f" (line {on_lines[number - 1]})" if on_lines else "")
        try:
            entries.append((place, convert(each, shape)))
        except Rejected as error:
            wrong += [f"{place}{known(each)}: {text}" for text in mistakes(name, each) or [str(error)]]
    return entries


def _doubled(entries: list[Entry[R]], name: Callable[[R], str], file: str, fix: str) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for place, each in entries:
        places.setdefault(name(each), []).append(place.removeprefix(f"{file}, "))
    for text, found in places.items():
        if len(found) > 1:
            more = f" and {len(found) - _MOST_PLACES} more" if len(found) > _MOST_PLACES else ""
            yield f"{file}: {text} is in {' and '.join(found[:_MOST_PLACES])}{more}: {fix}"


def _part_name(part: _Part) -> str:
    return f"part {part.part_number} revision {part.revision} (partId {part.part_id})"


def _step_name(step: _Step, names: dict[int, str]) -> str:
    return f"step {step.step} of {names.get(step.part_id, f'partId {step.part_id}')}"


def _range_error(torque: _Range) -> str | None:
    for field in ("target", "min", "max"):
        value = getattr(torque, field)
        if not 0 < value <= LARGEST_TORQUE_NM:
            return f"torque.{field} is {value}: it must be above 0 and at most {LARGEST_TORQUE_NM:,.0f} N·m"
    if torque.min > torque.max:
        return f"torque.min {torque.min} is above torque.max {torque.max}: correct one of them"
    if torque.target < torque.min:
        return f"torque.target {torque.target} is below torque.min {torque.min}: no screw could be in range, so correct one"
    if torque.target > torque.max:
        return f"torque.target {torque.target} is above torque.max {torque.max}: no screw could be in range, so correct one"
    return None


def _incomplete(serials: list[Entry[_Serial]], parts: list[Entry[_Part]], steps: list[Entry[_Step]]) -> Iterator[str]:
    parts_known, with_steps = {each.part_id for _, each in parts}, {each.part_id for _, each in steps}
    for place, serial in serials:
        if serial.part_id not in parts_known:
            yield (
                f"{place}: serial number {serial.serial} has partId {serial.part_id}, which {PARTS} does not have: add the "
                "part, or correct the partId. Until then this serial number cannot be fastened"
            )
    for place, part in parts:
        if part.part_id not in with_steps:
            yield f"{place}: {_part_name(part)} has no steps: add them to {STEPS}. Until then the part cannot be fastened"
    for place, step in steps:
        if step.part_id not in parts_known:
            yield (
                f"{place}: step {step.step} is one of partId {step.part_id}, which {PARTS} does not have: add the part, "
                "or correct the partId. Until then the step is left out"
            )


def _catalog(serials: list[_Serial], parts: list[_Part], steps: list[_Step]) -> Catalog:
    of_part: dict[int, list[Step]] = {}
    for each in sorted(steps, key=lambda step: step.step):
        of_part.setdefault(each.part_id, []).append(Step(each.step, each.torque.target, each.torque.min, each.torque.max))
    return Catalog(
        tuple(SerialNumber(each.serial, each.part_id) for each in serials),
        tuple(Part(each.part_id, each.part_number, each.revision, tuple(of_part.get(each.part_id, ()))) for each in parts),
    )
