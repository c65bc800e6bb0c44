"""The journal: which publications each foreign message became, kept in a mapped file that a kill of the process does not touch.

A foreign message has no identity of its own. But the broker delivers what was not acknowledged again, with the same packet
identifier, and identifiers come in sequence. So the journal has one place for each identifier: before a message is mapped and
published, the numbers of its publications go there. After a kill, the recorder answers which of those numbers it has
(docs/decisions/0015-devices.md). Writing costs a microsecond and no system call.
"""

import mmap
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

FILE = "devices.journal"
PACKET_IDENTIFIERS = 65_536
WINDOW = 30_000
"""Deliveries within which an identifier is not used again, and more than can be unacknowledged."""
BOOTS = 16
"""Starts that are remembered."""

_MAGIC = b"scaup-1\n"
_HEAD = struct.Struct("<8sQI")
_BOOT = struct.Struct("<I60s")
_ENTRY = struct.Struct("<QIIQI")
_BOOTS_AT = 64
_ENTRIES_AT = _BOOTS_AT + BOOTS * _BOOT.size
_SIZE = _ENTRIES_AT + PACKET_IDENTIFIERS * _ENTRY.size


@dataclass(frozen=True, slots=True)
class Entry:
    """The publications of a foreign message: `count` of them, from `seq` on, of the start `boot`."""

    boot: str
    seq: int
    count: int


class Journal:
    """The journal of one component, whose present start is `boot`.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, boot: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.is_file() else "w+b") as file:
            path.chmod(0o600)
            file.truncate(_SIZE)
            self._map = mmap.mmap(file.fileno(), _SIZE)
        magic, self._count, self._number = _HEAD.unpack_from(self._map)
        if magic != _MAGIC:
            self._count = self._number = 0
        self._number += 1
        self._boots = dict(_BOOT.unpack_from(self._map, _BOOTS_AT + each * _BOOT.size) for each in range(BOOTS))
        _BOOT.pack_into(self._map, _BOOTS_AT + self._number % BOOTS * _BOOT.size, self._number, boot.encode()[:60])
        self._boots[self._number] = boot.encode()
        _HEAD.pack_into(self._map, 0, _MAGIC, self._count, self._number)

    def note(self, packet_id: int, topic: str, payload: bytes, seq: int, count: int) -> None:
        """Write down that a delivery becomes `count` publications, from `seq` on."""
        self._count += 1
        entry = (self._count, self._number, _checksum(topic, payload), seq, count)
        _ENTRY.pack_into(self._map, _ENTRIES_AT + packet_id * _ENTRY.size, *entry)
        struct.pack_into("<Q", self._map, 8, self._count)

    def find(self, packet_id: int, topic: str, payload: bytes) -> Entry | None:
        """Return what a delivery became when it was delivered before, None if it was not handled."""
        count, number, checksum, seq, publications = _ENTRY.unpack_from(self._map, _ENTRIES_AT + packet_id * _ENTRY.size)
        boot = self._boots.get(number)
        if boot is None or not count or count + WINDOW < self._count or checksum != _checksum(topic, payload):
            return None
        return Entry(boot.rstrip(b"\0").decode(), seq, publications)

    def earlier(self) -> dict[str, int]:
        """Return, for each earlier start with deliveries that may come again, the lowest number of their publications."""
        found: dict[str, int] = {}
        for place in range(PACKET_IDENTIFIERS):
            count, number, _, seq, publications = _ENTRY.unpack_from(self._map, _ENTRIES_AT + place * _ENTRY.size)
            boot = self._boots.get(number)
            if not publications or boot is None or number == self._number or count + WINDOW < self._count:
                continue
            name = boot.rstrip(b"\0").decode()
            found[name] = min(seq, found.get(name, seq))
        return found

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()


def _checksum(topic: str, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(topic.encode()))
