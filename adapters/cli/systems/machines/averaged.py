"""A reading with its averages, as one JSON object: what `scaup machines watch` prints. Pure."""

from collections.abc import Mapping
from typing import Any

from broker.errors import Rejected
from controllers.moving_average.reading import DEFAULT_FIELDS, Field, check_reading, read
from controllers.moving_average.window import Window

_DECIMALS = 2


def averaged(reading: Mapping[str, Any], average: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a reading as they are, then the averages, rounded to two decimals."""
    shown = {name: round(value, _DECIMALS) if isinstance(value, float) else value for name, value in average.items()}
    return {**reading, **{name: value for name, value in shown.items() if name != "status"}}


class SourceAverages:
    """The averages over what a source gives, computed here as the controller does: `length` readings of each machine.

    `machine` is the only one that is looked at, None stands for all.
    """

    def __init__(self, machine: int | None, length: int, fields: tuple[Field, ...] = DEFAULT_FIELDS) -> None:
        self._machine, self._length, self._fields = machine, length, fields
        self._windows: dict[int, Window] = {}
        self._latest: dict[int, dict[str, Any]] = {}

    def take(self, payloads: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
        """Take one look at the source; return the averaged readings, and what is wrong with those that cannot be used.

        Each reading that changes its machine's window is there; of a machine that has nothing new, its last one again.
        """
        found: list[dict[str, Any]] = []
        repeated: dict[int, dict[str, Any]] = {}
        wrong = []
        for number, payload in enumerate(payloads, start=1):
            try:
                machine, reading = check_reading(payload)
            except Rejected as error:
                wrong.append(f"reading {number}: {error}")
                continue
            if self._machine not in (None, machine):
                continue
            if self._add(machine, reading):
                found.append(self._latest[machine])
            else:
                repeated[machine] = self._latest[machine]
        new = {each["id"] for each in found}
        return [*found, *(each for machine, each in repeated.items() if machine not in new)], wrong

    def _add(self, machine: int, reading: dict[str, Any]) -> bool:
        window = self._windows.setdefault(machine, Window(self._length))
        changed = window.add(read(reading, self._fields))
        if changed or machine not in self._latest:
            self._latest[machine] = averaged(reading, window.average().payload(self._fields))
        return changed
