"""Live messages that have to wait until the history has been shown: some in memory, the rest in a temporary file."""

import tempfile
from collections import deque
from collections.abc import Iterator
from typing import IO

import msgspec

from adapters.client.bus import Received

_LENGTH_BYTES = 4
MOST_IN_MEMORY = 10_000


class Backlog:
    """A queue of any length in bounded memory: at most `most_in_memory` messages, then the disk."""

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._most_in_memory = most_in_memory
        self._memory: deque[Received] = deque()
        self._file: IO[bytes] | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Received)

    def put(self, received: Received) -> None:
        """Append a message."""
        if self._file is None and len(self._memory) < self._most_in_memory:
            self._memory.append(received)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="scaup-tail-")  # noqa: SIM115 - closed when it has been drained
        packed = self._encoder.encode(received)
        self._file.write(len(packed).to_bytes(_LENGTH_BYTES) + packed)

    def drain(self) -> Iterator[Received]:
        """Remove and return the messages in their order."""
        while self._memory:
            yield self._memory.popleft()
        if self._file is None:
            return
        self._file.seek(0)
        while length := self._file.read(_LENGTH_BYTES):
            yield self._decoder.decode(self._file.read(int.from_bytes(length)))
        self._file.close()
        self._file = None
