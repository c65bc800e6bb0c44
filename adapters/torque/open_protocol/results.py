"""Results of a tool: MID 0061, which it pushes, and MID 0065, which it is asked for, in revisions 1 to 10. Pure.

The fields are those of the specification R 2.16.0, sections 5.8.2 and 5.8.6. From revision 2 on, each revision adds fields.
"""

from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any

from adapters.torque.open_protocol.frames import Frame, MalformedFrame, number, numbered_fields
from broker.message import encode

PUSHED, FETCHED = 61, 65
HIGHEST_REVISION = 10

# fmt: off
_WIDTHS: dict[int, tuple[tuple[int, ...], ...]] = {
    PUSHED: (
        (4, 2, 25, 25, 2, 3, 4, 4, 1, 1, 1, 6, 6, 6, 6, 5, 5, 5, 5, 19, 19, 1, 10),
        (4, 2, 25, 25, 4, 3, 2, 5, 4, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 10, 6, 6, 6, 6, 5, 5, 5, 5, 5, 5, 5, 3, 3, 3,
         6, 6, 6, 6, 6, 6, 10, 5, 5, 14, 19, 19),
        (25, 1, 2), (25, 25, 25), (4,), (6, 10), (7, 7), (6, 1, 6, 6), (5, 5, 5), (5, 5, 1, 5, 5, 5, 6, 6, 6, 6),
    ),
    FETCHED: (
        (10, 25, 3, 4, 1, 1, 1, 6, 5, 19, 1),
        (10, 25, 4, 3, 2, 5, 4, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 10, 6, 5, 5, 3, 6, 6, 5, 5, 14, 19),
        (1, 2), (25, 25, 25), (4,), (6, 10), (10, 25), (6, 1, 6, 6), (5, 5, 5), (5, 5, 1, 5, 5, 5, 6, 6, 6, 6),
    ),
}
# fmt: on
"""Widths of the fields of revision 1, those of revision 2, and what revisions 3 to 10 add to revision 2."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Number of each field that is used; 0 where the revision does not have it."""

    id: int
    vin: int
    set: int
    ok: int
    torque_status: int
    angle_status: int
    torque: int
    angle: int
    at: int
    target: int = 0
    unit: int = 0
    kind: int = 0


_PLACES: dict[int, tuple[_Places, _Places, _Places]] = {
    PUSHED: (
        _Places(id=23, vin=4, set=6, ok=9, torque_status=10, angle_status=11, torque=15, angle=19, at=20, target=14),
        _Places(id=41, vin=4, set=6, ok=11, torque_status=13, angle_status=14, torque=24, angle=28, at=45, target=23),
        _Places(
            id=41,
            vin=4,
            set=6,
            ok=11,
            torque_status=13,
            angle_status=14,
            torque=24,
            angle=28,
            at=45,
            target=23,
            unit=48,
            kind=49,
        ),
    ),
    FETCHED: (
        _Places(id=1, vin=2, set=3, ok=5, torque_status=6, angle_status=7, torque=8, angle=9, at=10),
        _Places(id=1, vin=2, set=4, ok=9, torque_status=11, angle_status=12, torque=19, angle=20, at=28),
        _Places(id=1, vin=2, set=4, ok=9, torque_status=11, angle_status=12, torque=19, angle=20, at=28, unit=29, kind=30),
    ),
}
"""Of revision 1, of revision 2, and of later ones."""

_IN_NM = {1: 1.0, 2: 1.3558179483314, 3: 0.1129848290276, 4: 9.80665, 5: 0.0980665, 6: 0.00706155181423, 8: 0.01}
"""N·m in each unit of torque: N·m, lbf·ft, lbf·in, kpm, kgf·cm, ozf·in, N·cm. Number 7 is percent, which is no torque."""
_STATUS = {"0": "low", "1": "ok", "2": "high"}


class Kind(Enum):
    """What a result is about."""

    TIGHTENING = "tightening"
    LOOSENING = "loosening"
    OTHER = "other"
    """No operation: a batch that was counted, a job that was aborted."""


_KINDS = {1: Kind.TIGHTENING, 2: Kind.LOOSENING, 7: Kind.TIGHTENING}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """One result. `target_nm` is None where the message does not have it; `text` is the whole frame."""

    id: int
    """Tightening ID: the tool counts its results."""
    at: str
    """Time of the tool's own clock, as it writes it."""
    kind: Kind
    result_type: int | None
    """As the tool sends it, from revision 3 on."""
    set: int
    ok: bool
    torque_status: str
    angle_status: str
    torque_nm: float
    target_nm: float | None
    angle: int | None
    vin: str
    fetched: bool
    revision: int
    text: str

    @property
    def key(self) -> str:
        """Identifies it, however often it comes, pushed or fetched; a tool may count again from 1."""
        return result_key(self.id, self.at) if self.kind is not Kind.OTHER else f"{self.id} {self.at} {self.result_type}"


def result_key(number: int, at: str) -> str:
    """Return the key of the operation with this ID and time."""
    return f"{number} {at}"


def read_result(frame: Frame) -> ToolResult:
    """Read MID 0061 or 0065.

    Raises:
        MalformedFrame: it does not have the form of its revision, or its torque has no unit that is one.
    """
    revision = min(frame.revision, HIGHEST_REVISION)
    widths = _WIDTHS[frame.mid]
    values = numbered_fields(frame.data, widths[0] if revision == 1 else chain.from_iterable(widths[1:revision]))
    places = _PLACES[frame.mid][min(revision, 3) - 1]
    unit = number(values[places.unit - 1], "unit of torque") if places.unit else 1
    if unit not in _IN_NM:
        raise MalformedFrame(f"its torque is in unit {unit}, which is no torque: set the tool to N·m")
    result_type = number(values[places.kind - 1].strip(), "type of result") if places.kind else None
    angle = values[places.angle - 1].strip()
    return ToolResult(
        id=number(values[places.id - 1].strip(), "tightening ID"),
        at=values[places.at - 1].strip(),
        kind=Kind.TIGHTENING if result_type is None else _KINDS.get(result_type, Kind.OTHER),
        result_type=result_type,
        set=number(values[places.set - 1].strip(), "number of the parameter set"),
        ok=number(values[places.ok - 1], "tightening status") == 1,
        torque_status=_STATUS.get(values[places.torque_status - 1], "unknown"),
        angle_status=_STATUS.get(values[places.angle_status - 1], "unknown"),
        torque_nm=_torque(values[places.torque - 1], unit),
        target_nm=_torque(values[places.target - 1], unit) if places.target else None,
        angle=int(angle) if angle.isascii() and angle.isdigit() else None,
        vin=values[places.vin - 1].strip(),
        fetched=frame.mid == FETCHED,
        revision=frame.revision,
        text=frame.text,
    )


def event(result: ToolResult, configured_nm: float | None) -> bytes:
    """Return the event for the bus: an operation, or `result` for what is none or has no known configured torque."""
    facts: dict[str, Any] = {
        "tighteningId": result.id,
        "time": result.at,
        "parameterSet": result.set,
        "tighteningOk": result.ok,
        "torqueStatus": result.torque_status,
        "angleStatus": result.angle_status,
        "angle": result.angle,
        "vin": result.vin,
        "resultType": result.result_type,
        "fetched": result.fetched,
        "revision": result.revision,
        "frame": result.text,
    }
    if result.kind is Kind.LOOSENING:
        data = {"direction": "reverse", "configuredValue": 0, "currentValue": 0, "torque": result.torque_nm, **facts}
        return encode({"type": "operation", "data": data})
    if result.kind is Kind.TIGHTENING and configured_nm is not None:
        data = {"direction": "forward", "currentValue": result.torque_nm, "configuredValue": configured_nm, **facts}
        return encode({"type": "operation", "data": data})
    return encode({"type": "result", "data": {"torque": result.torque_nm, **facts}})


def _torque(text: str, unit: int) -> float:
    return round(number(text.strip(), "torque") / 100 * _IN_NM[unit], 4)
