"""The catalog: the part of each serial number, and the fastening steps of each part.

An entry that cannot be read, or could let a screw be fastened wrongly, makes the whole catalog invalid. An incomplete entry
does not stop the line: a serial number without a part, or a part without steps, is logged, and refused at the start of a job.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

from broker.contract.fastening.topics import Catalog, Part, SerialNumber, Step, Torque
from broker.errors import InvalidSetting, Rejected
from broker.message import convert, decode_json, without_byte_order_mark

R = TypeVar("R")
Text = Annotated[
    str, msgspec.Meta(pattern=r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$", max_length=256)
]
"""Text that a person can type and read: no control characters, no surrounding blanks."""

SERIALS, PARTS, STEPS = "serials.json", "parts.json", "steps.json"
LARGEST_TORQUE_NM = 1e6
MOST_NAMED = 20
"""Mistakes that an error lists."""


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
    step: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    torque: _Range


@dataclass(frozen=True, slots=True)
class Checked:
    """A valid catalog, and its incomplete entries, one sentence each."""

    catalog: Catalog
    incomplete: tuple[str, ...]


def check_catalog(files: dict[str, bytes]) -> Checked:
    """Read the three files, given by name.

    Raises:
        InvalidCatalog: a file is not a JSON array, an entry has another shape, two entries have the same key, or a torque range
            is wrong: min > max, the target outside of it, not above 0 or not finite.
    """
    wrong: list[str] = []
    serials = _entries(files, SERIALS, _Serial, wrong)
    parts = _entries(files, PARTS, _Part, wrong)
    steps = _entries(files, STEPS, _Step, wrong)
    if not wrong:  # otherwise the entry numbers would leave out unreadable entries
        wrong += _doubled(SERIALS, "serialNumber", [(each.serial,) for each in serials])
        wrong += _doubled(PARTS, "partId", [(each.part_id,) for each in parts])
        wrong += _doubled(PARTS, "partNumber and revision", [(each.part_number, each.revision) for each in parts])
        wrong += _doubled(STEPS, "partId and step", [(each.part_id, each.step) for each in steps])
    wrong += [f"{STEPS} entry {n}: {text}" for n, each in enumerate(steps, 1) if (text := _range_error(each.torque))]
    if wrong:
        more = f"\n  and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise InvalidCatalog("the torque catalog cannot be used:\n  " + "\n  ".join(wrong[:MOST_NAMED]) + more)
    return Checked(_catalog(serials, parts, steps), tuple(_incomplete(serials, parts, steps)))


def _entries(files: dict[str, bytes], name: str, shape: type[R], wrong: list[str]) -> list[R]:
    try:
        found = decode_json(without_byte_order_mark(files[name]))
    except Rejected as error:
        wrong.append(f"{name}: {error}")
        return []
    if not isinstance(found, list):
        wrong.append(f"{name}: must be a JSON array of objects")
        return []
    entries = []
    for number, each in enumerate(found, 1):
        try:
            entries.append(convert(each, shape))
        except Rejected as error:
            wrong.append(f"{name} entry {number}: {error}")
    return entries


def _doubled(name: str, field: str, values: list[tuple[Any, ...]]) -> Iterator[str]:
    entries: dict[tuple[Any, ...], list[int]] = {}
    for number, value in enumerate(values, 1):
        entries.setdefault(value, []).append(number)
    for value, numbers in entries.items():
        if len(numbers) > 1:
            entries_of = ", ".join(map(str, numbers))
            yield f"{name} entries {entries_of}: {field} {' and '.join(map(str, value))} must be unique"


def _range_error(torque: _Range) -> str | None:
    if not all(0 < each <= LARGEST_TORQUE_NM for each in (torque.target, torque.min, torque.max)):
        return f"torque: target, min and max must be above 0 and at most {LARGEST_TORQUE_NM:g} N·m"
    if torque.min > torque.max:
        return f"torque.min {torque.min} is above torque.max {torque.max}"
    if not torque.min <= torque.target <= torque.max:
        return f"torque.target {torque.target} is outside of min {torque.min} to max {torque.max}"
    return None


def _incomplete(serials: list[_Serial], parts: list[_Part], steps: list[_Step]) -> Iterator[str]:
    known, with_steps = {each.part_id for each in parts}, {each.part_id for each in steps}
    for number, serial in enumerate(serials, 1):
        if serial.part_id not in known:
            yield f"{SERIALS} entry {number}: partId {serial.part_id} of {serial.serial} is not in {PARTS}"
    for number, part in enumerate(parts, 1):
        if part.part_id not in with_steps:
            yield f"{PARTS} entry {number}: partId {part.part_id} has no steps in {STEPS}"
    for number, step in enumerate(steps, 1):
        if step.part_id not in known:
            yield f"{STEPS} entry {number}: partId {step.part_id} is not in {PARTS}"


def _catalog(serials: list[_Serial], parts: list[_Part], steps: list[_Step]) -> Catalog:
    of_part: dict[int, list[Step]] = {}
    for each in sorted(steps, key=lambda step: step.step):
        of_part.setdefault(each.part_id, []).append(Step(each.step, each.torque.target, each.torque.min, each.torque.max))
    return Catalog(
        tuple(SerialNumber(each.serial, each.part_id) for each in serials),
        tuple(Part(each.part_id, each.part_number, each.revision, tuple(of_part.get(each.part_id, ()))) for each in parts),
    )
