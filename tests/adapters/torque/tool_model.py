"""A torque tool that speaks Open Protocol, sans-I/O: it writes the wire format itself, as an oracle independent of the adapter.

The forms are those of the specification R 2.16.0: header 2.2.2, MID 0002 5.2.2, 0011 and 0013 5.3, 0061 5.8.2, 0065 5.8.6.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

BLANK_25 = " " * 25


def message(mid: int, revision: int = 1, data: str = "") -> bytes:
    return b"%04d%04d%03d         " % (20 + len(data), mid, revision) + data.encode() + b"\0"


@dataclass(frozen=True)
class Done:
    """A result that the tool keeps."""

    id: int
    hundredths: int
    set: int = 1
    target: int = 1000
    ok: bool = True
    kind: int = 1
    unit: int = 1
    at: str = ""

    @property
    def stamp(self) -> str:
        return self.at or f"2026-12-01:10:{self.id // 60 % 60:02}:{self.id % 60:02}"

    def pushed(self, revision: int) -> bytes:
        """MID 0061, in revision 1, 2, 3 or 4."""
        if revision == 1:
            values = ["0001", "01", f"{'airbag7':25}", f"{'KPOL3456JKLO897':25}", "00", f"{self.set:03}", "0000", "0000"]
            values += [str(int(self.ok)), "1", "1", "000900", "001100", f"{self.target:06}", f"{self.hundredths:06}"]
            values += ["00000", "00999", "00000", "00180", self.stamp, "2001-05-29:12:34:33", "2", f"{self.id:010}"]
            return message(61, 1, numbered(values))
        values = ["0001", "01", f"{'airbag7':25}", f"{'KPOL3456JKLO897':25}", "0000", f"{self.set:03}", "01", "00000"]
        values += ["0000", "0000", str(int(self.ok)), "2", "1", "1", "1", "1", "1", "1", "1", "0" * 10]
        values += ["000900", "001100", f"{self.target:06}", f"{self.hundredths:06}"]
        values += ["00000", "00999", "00000", "00180", "00000", "00999", "00090", "000", "100", "050"]
        values += ["000000"] * 6 + [f"{self.id:010}", "00000", "00000", f"{'A1234':14}", self.stamp, "2001-05-29:12:34:33"]
        if revision >= 3:
            values += [f"{'M8 screw':25}", str(self.unit), f"{self.kind:02}"]
        if revision >= 4:
            values += [BLANK_25] * 3
        return message(61, revision, numbered(values))

    def fetched(self, revision: int) -> bytes:
        """MID 0065, in revision 1, 2 or 3."""
        if revision == 1:
            values = [f"{self.id:010}", BLANK_25, f"{self.set:03}", "0000", str(int(self.ok)), "1", "1"]
            return message(65, 1, numbered([*values, f"{self.hundredths:06}", "00180", self.stamp, "2"]))
        values = [f"{self.id:010}", BLANK_25, "0000", f"{self.set:03}", "01", "00000", "0000", "0000", str(int(self.ok)), "2"]
        values += ["1"] * 7 + ["0" * 10, f"{self.hundredths:06}", "00180", "00090", "050", "000000", "000000", "00000", "00000"]
        values += [f"{'A1234':14}", self.stamp]
        if revision >= 3:
            values += [str(self.unit), f"{self.kind:02}"]
        return message(65, revision, numbered(values))


def numbered(values: Iterable[str]) -> str:
    return "".join(f"{count:02}{value}" for count, value in enumerate(values, 1))


@dataclass
class ToolModel:
    """Answers requests; `fasten` and `loosen` make results, which it keeps over connections."""

    sets: dict[int, int] = field(default_factory=lambda: {1: 1000, 2: 1300, 3: 1400})
    """Target in hundredths by number."""
    highest: dict[int, int] = field(default_factory=lambda: {1: 3, 60: 3, 64: 3})
    """Highest revision that it knows of a message."""
    unknown: frozenset[int] = frozenset()
    refusals: dict[int, int] = field(default_factory=dict)
    """Error code with which it refuses a message."""
    deaf: bool = False
    too_new: int | None = None
    """Error code for an unsupported revision, in place of the specified ones."""
    results: list[Done] = field(default_factory=list)
    kept_from: int = 1
    """Results with a lower ID are overwritten."""
    requests: list[tuple[int, int, str]] = field(default_factory=list)
    enabled: bool = True
    selected: int = 0
    revision: int = 0
    """Of the subscription, 0 without one."""
    unacknowledged: list[Done] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    _buffer: bytes = b""

    def connect(self) -> None:
        """Begin a new connection: what was not acknowledged comes again after the next subscription."""
        self._buffer, self.revision = b"", 0

    def receive(self, data: bytes) -> bytes:
        self._buffer += data
        answers = b""
        while len(self._buffer) >= 20 and len(self._buffer) > (length := int(self._buffer[:4])):
            text, end = self._buffer[:length].decode(), self._buffer[length]
            assert end == 0, "a message ends with NUL"
            self._buffer = self._buffer[length + 1 :]
            answers += b"" if self.deaf else self._answer(int(text[4:8]), int(text[8:11]), text[20:])
        return answers

    def fasten(self, hundredths: int, **facts: object) -> bytes:
        """Make a result; return what is sent."""
        number = self.results[-1].id + 1 if self.results else 1
        chosen = self.selected or 1
        made = {"id": number, "hundredths": hundredths, "set": chosen, "target": self.sets.get(chosen, 0), **facts}
        done = Done(**made)  # type: ignore[arg-type]
        self.results.append(done)
        self.unacknowledged.append(done)
        return done.pushed(self.revision) if self.revision and len(self.unacknowledged) == 1 else b""

    def loosen(self) -> bytes:
        return self.fasten(0, kind=2)

    def again(self) -> bytes:
        """Send the oldest result that was not acknowledged."""
        return self.unacknowledged[0].pushed(self.revision) if self.unacknowledged and self.revision else b""

    def of(self, mid: int) -> list[tuple[int, str]]:
        """Revisions and data of the messages with this number."""
        return [(revision, data) for each, revision, data in self.requests if each == mid]

    def _answer(self, mid: int, revision: int, data: str) -> bytes:
        self.requests.append((mid, revision, data))
        if mid == 9999:
            return message(9999)
        if mid in self.unknown:
            return message(4, 1, f"{mid:04}99")
        if mid in self.refusals:
            return message(4, 1, f"{mid:04}{self.refusals[mid]:02}")
        if revision > self.highest.get(mid, 1):
            return message(4, 1, f"{mid:04}{self.too_new or {60: 74, 64: 76}.get(mid, 97)}")
        return _ANSWERS[mid](self, revision, data)

    def _start(self, revision: int, _data: str) -> bytes:
        fields = ["0001", "01", f"{'Airbag1':25}", "ACT"][: 3 if revision == 1 else 4]
        if revision >= 3:
            fields += [f"{'2.16':19}", f"{'1.0':19}", f"{'1.0':19}"]
        return message(2, revision, numbered(fields))

    def _list(self, _revision: int, _data: str) -> bytes:
        return message(11, 1, f"{len(self.sets):03}" + "".join(f"{each:03}" for each in self.sets))

    def _set(self, _revision: int, data: str) -> bytes:
        target = self.sets[int(data)]
        values = [data, f"{'Set':25}", "1", "00", "000000", "009999", f"{target:06}", "00000", "00999", "00000"]
        return message(13, 1, numbered(values))

    def _select(self, _revision: int, data: str) -> bytes:
        if int(data) not in self.sets:
            return message(4, 1, "001802")
        self.selected = int(data)
        return message(5, 1, "0018")

    def _disable(self, _revision: int, _data: str) -> bytes:
        self.enabled = False
        return message(5, 1, "0042")

    def _enable(self, _revision: int, _data: str) -> bytes:
        self.enabled = True
        return message(5, 1, "0043")

    def _subscribe(self, revision: int, _data: str) -> bytes:
        if self.revision:
            return message(4, 1, "006009")
        self.revision = revision
        return message(5, 1, "0060") + self.again()

    def _unsubscribe(self, _revision: int, _data: str) -> bytes:
        self.revision = 0
        return message(5, 1, "0063")

    def _acknowledge(self, _revision: int, _data: str) -> bytes:
        if self.unacknowledged:
            self.acknowledged.append(self.unacknowledged.pop(0).id)
        return self.again()

    def _fetch(self, revision: int, data: str) -> bytes:
        wanted = int(data[:10]) or (self.results[-1].id if self.results else -1)
        found = [each for each in self.results if each.id == wanted and each.id >= self.kept_from]
        return found[-1].fetched(revision) if found else message(4, 1, "006415")

    def _stop(self, _revision: int, _data: str) -> bytes:
        self.revision = 0
        return message(5, 1, "0003")


_ANSWERS = {
    1: ToolModel._start,
    3: ToolModel._stop,
    10: ToolModel._list,
    12: ToolModel._set,
    18: ToolModel._select,
    42: ToolModel._disable,
    43: ToolModel._enable,
    60: ToolModel._subscribe,
    62: ToolModel._acknowledge,
    63: ToolModel._unsubscribe,
    64: ToolModel._fetch,
}
