"""The latest reading and averages of each machine, as the JSON that answers a request. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from broker.admission import Admission
from broker.contract.identifiers import number_of
from broker.contract.machines.topics import AVERAGE, READING
from broker.errors import Rejected
from broker.message import Message
from broker.stream import AnyStream

READING_FIELDS = ("id", "name", "description", "temperature", "fan_speed", "status", "timestamp")
AVERAGE_FIELDS = ("average_temperature", "average_speed")
MAX_MACHINES = 100_000
MOST_NEW_MACHINES, NEW_MACHINES_PER_S = 10_000, 100.0
"""Machines that may be new at once, and then per wall second. Those with averages are known."""
LARGEST_BYTES = 16 * 1024
"""Size of a reading or an average."""
MAX_LATE = 5
"""This many readings in a row that are older than the latest one mean that the machine's clock was set back."""

_UNKNOWN_AVERAGE = ",".join(f'"{field}":null' for field in AVERAGE_FIELDS).encode()
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(slots=True)
class Machine:
    """One machine. Members are the inside of a JSON object, byte for byte as received."""

    reading: bytes | None = None
    average: bytes = _UNKNOWN_AVERAGE
    latest_at: datetime | None = None
    """The highest timestamp of its readings, None if none had one."""
    late: int = 0
    """Number of readings in a row that were older than `latest_at`."""
    answer: bytes | None = None
    """The answer to `GET /data`, None while there is no reading."""

    def read(self, members: bytes, at: datetime | None) -> None:
        """Take a reading unless a later one has been taken; one without a timestamp counts as the latest."""
        if at is not None and self.latest_at is not None and at < self.latest_at and self.late + 1 < MAX_LATE:
            self.late += 1
            return
        self.reading, self.late = members, 0
        self.latest_at = self.latest_at if at is None else at
        self._compose()

    def averaged(self, members: bytes) -> None:
        """Take its averages."""
        self.average = members
        self._compose()

    def _compose(self) -> None:
        if self.reading is not None:
            self.answer = b"{" + self.reading + b"," + self.average + b"}"


class Machines:
    """All machines that have published, by their numbers."""

    def __init__(self, max_machines: int = MAX_MACHINES, time_scale: float = 1.0) -> None:
        self._max_machines = max_machines
        self._machines: dict[int, Machine] = {}
        self._admission = Admission("machines", max_machines, MOST_NEW_MACHINES, NEW_MACHINES_PER_S, time_scale)

    def __contains__(self, number: int) -> bool:
        """Return whether readings or averages of a machine have been taken."""
        return number in self._machines

    def answer(self, number: int) -> bytes | None:
        """Return the JSON of a machine's latest reading with its averages, None if there is no reading."""
        machine = self._machines.get(number)
        return machine.answer if machine else None

    def on_reading(self, message: Message, now_s: float = 0.0) -> None:
        """Take a message of `machines/{id}/reading`.

        Raises:
            Rejected: it is not a reading, its number differs from the topic's, it is too large, there are too many machines, or
                too many new ones came in a short time.
        """
        _check_size(message)
        reading = READING.decode(message)
        number = _number(READING, message)
        if reading.id != number:
            raise Rejected(f"a reading of machine {reading.id} on the topic of machine {number}")
        if number not in self._machines:
            self._admission.check(str(number), len(self._machines), now_s)
        self._machine(number).read(_kept(message, READING_FIELDS), _instant(reading.timestamp))

    def on_average(self, message: Message) -> None:
        """Take a message of `machines/{id}/average`; an empty one removes the averages, as it removes a retained message.

        Raises:
            Rejected: it has no averages, is too large, or there are too many machines.
        """
        _check_size(message)
        number = _number(AVERAGE, message)
        if message.payload:
            AVERAGE.decode(message)
            self._machine(number).averaged(_kept(message, AVERAGE_FIELDS))
        elif number in self._machines:
            self._machines[number].averaged(_UNKNOWN_AVERAGE)

    def forget(self, name: str) -> None:
        """Remove the machine of this name, if it is known."""
        if name.removeprefix("-").isdecimal():
            self._machines.pop(int(name), None)

    def _machine(self, number: int) -> Machine:
        machine = self._machines.get(number)
        if machine is None:
            if len(self._machines) >= self._max_machines:
                raise Rejected(f"there are {self._max_machines} machines already, which is the limit")
            machine = self._machines[number] = Machine()
        return machine


def _check_size(message: Message) -> None:
    if len(message.payload) > LARGEST_BYTES:
        raise Rejected(f"{len(message.payload)} bytes: at most {LARGEST_BYTES} are taken")


def _number(stream: AnyStream, message: Message) -> int:
    level = (stream.parse(message.topic) or {}).get("id", "")
    number = number_of(level)
    if number is None:
        raise Rejected(f"topic {message.topic!r} names no machine: its second level is to be a whole number, such as 7")
    return number


def _kept(message: Message, fields: tuple[str, ...]) -> bytes:
    """Return the members of a JSON object that are in `fields`, in the order of `fields`."""
    try:
        members = _members.decode(message.payload)
    except (msgspec.DecodeError, RecursionError) as error:  # orjson allows deeper nesting
        raise Rejected(f"not JSON: {error}") from error
    return b",".join(b'"%s":%s' % (field.encode(), bytes(members[field])) for field in fields if field in members)


def _instant(timestamp: Any) -> datetime | None:
    """Return the time of a reading, None unless it is given in RFC 3339."""
    if not isinstance(timestamp, str):
        return None
    try:
        instant = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return instant if instant.tzinfo else None
