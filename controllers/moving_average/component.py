"""The moving average: a window of readings for every machine."""

from collections.abc import Sequence

from broker.admission import Admission
from broker.contract.components.topics import FORGET, STATE, read_forget, removal
from broker.contract.machines.topics import AVERAGE, READING
from broker.contract.storage.topics import QUERY
from broker.errors import Rejected
from broker.message import Message, Publication, decode_json, encode
from broker.stamp import MOST_CAUSES
from controllers.moving_average.reading import DEFAULT_FIELDS, Field, Reading, check_reading, read
from controllers.moving_average.warm_start import ANSWER_TOPIC, RECORDER_TOPIC, Recorded, WarmStart
from controllers.moving_average.window import Window

MOST_MACHINES = 100_000
MOST_NEW_MACHINES, NEW_MACHINES_PER_S = 10_000, 100.0
"""Machines that may be new at once, and then per wall second."""
DEFAULT_LENGTH = 5


class MovingAverage:
    """Sans-I/O component that publishes, after each reading of a machine, the averages over its last `length` ones.

    `time_scale` is plant seconds per wall second, since the recorder works in wall time. `start` is a token that differs from
    those of earlier starts. The average of a machine without a reading since the start is not published: it is retained.
    """

    def __init__(
        self,
        length: int = DEFAULT_LENGTH,
        fields: Sequence[Field] = DEFAULT_FIELDS,
        time_scale: float = 1.0,
        start: bytes = b"start",
    ) -> None:
        self._length, self._fields = length, tuple(fields)
        self._windows: dict[str, Window] = {}
        self._admission = Admission("machines", MOST_MACHINES, MOST_NEW_MACHINES, NEW_MACHINES_PER_S, time_scale)
        self._warm_start = WarmStart(length, time_scale, start)
        self._seen: set[str] = set()
        """Machines with a reading since the start."""
        self._held: dict[str, None] = {}

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a reading, the recorder's presence, or recorded readings.

        Raises:
            Rejected: the reading cannot be used: not JSON, not an object, an `id` that is missing or not that of the topic, too
                many machines, or too many new ones in a short time; or the recorder's answer cannot be used.
        """
        if levels := READING.parse(message.topic):
            return self._take_reading(levels["id"], message, now_s)
        if message.topic == RECORDER_TOPIC:
            return self._warm_start.on_recorder(STATE.decode(message), now_s)
        if message.topic == ANSWER_TOPIC:
            return self._take_answer(message, now_s)
        if FORGET.parse(message.topic) is not None:
            return self._forget(message)
        raise Rejected(f"topic {message.topic!r} names no machine")

    def on_tick(self, now_s: float) -> list[Publication]:
        """Repeat the query, and publish averages that have waited long enough for its answer."""
        return [*self._warm_start.tick(now_s), *self._release(now_s)]

    def _take_reading(self, machine: str, message: Message, now_s: float) -> list[Publication]:
        number, payload = check_reading(decode_json(message.payload))
        if str(number) != machine:
            raise Rejected(f"the reading is of machine {number}, but its topic of {machine}")
        self._window(machine, now_s).add(read(payload, self._fields, message.reference))
        if not self._warm_start.holds(now_s):
            return [*self._release(now_s), self._publication(machine)]
        self._held[machine] = None
        return []

    def _take_answer(self, message: Message, now_s: float) -> list[Publication]:
        publications = []
        for recorded in self._warm_start.take(message, now_s):
            changed = self._merge(recorded)
            if changed and recorded.machine in self._seen and recorded.machine not in self._held:
                publications.append(self._publication(recorded.machine))
        return [*publications, *self._release(now_s)]

    def _merge(self, recorded: Recorded) -> bool:
        if not recorded.payloads or (recorded.machine not in self._windows and len(self._windows) >= MOST_MACHINES):
            return False
        window = self._windows.setdefault(recorded.machine, Window(self._length))
        return window.add_recorded([read(payload, self._fields) for payload in recorded.payloads])

    def _release(self, now_s: float) -> list[Publication]:
        if not self._held or self._warm_start.holds(now_s):
            return []
        held, self._held = self._held, {}
        return [self._publication(machine) for machine in held]

    def _forget(self, message: Message) -> list[Publication]:
        """Remove a machine's window and its retained averages; it comes back with its next reading."""
        machine = read_forget(message, "machine")
        if machine is None:
            return []
        self._windows.pop(machine, None)
        self._seen.discard(machine)
        self._held.pop(machine, None)
        return [removal(AVERAGE, machine)]

    def _window(self, machine: str, now_s: float) -> Window:
        window = self._windows.get(machine)
        if window is None:
            self._admission.check(machine, len(self._windows), now_s)
            window = self._windows[machine] = Window(self._length)
        self._seen.add(machine)
        return window

    def _publication(self, machine: str) -> Publication:
        window = self._windows[machine]
        return Publication(
            topic=AVERAGE.template.topic(id=machine),
            payload=encode(window.average().payload(self._fields)),
            qos=AVERAGE.qos,
            retain=AVERAGE.retain,
            plant=AVERAGE.plant,
            causes=_causes(window.readings),
        )


def _causes(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return the references of the readings, latest first; the query to the recorder stands for those that it returned."""
    live = [each.reference for each in reversed(readings) if each.reference is not None]
    if len(live) == len(readings):
        return tuple(live)
    return (*live[: MOST_CAUSES - 1], QUERY.template.topic())
