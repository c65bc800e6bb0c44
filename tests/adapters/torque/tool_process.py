"""A torque tool as a process, with a memory that survives kill -9: `python -m tests.adapters.torque.tool_process PORT MEMORY`.

It keeps every result in the file MEMORY before it sends it, and notes there what was acknowledged. With `--every S` it tightens
a screw every S seconds, connected or not. With `--torques 10.1,14.2` it does what an operator would: once it is set and
enabled, it tightens a screw with the next of these torques; enabled without being set, it loosens one.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

from tests.adapters.torque.tool_model import Done, ToolModel

DELAY_S = 0.02


class Memory:
    """The results and acknowledgements of a tool, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[dict[str, int]]:
        text = self._path.read_text() if self._path.exists() else ""
        return [json.loads(each) for each in text.splitlines() if each.endswith("}")]

    def ids(self, kind: str) -> list[int]:
        return [each[kind] for each in self.lines() if kind in each]

    def write(self, **line: int) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def fill(self, tool: ToolModel) -> None:
        acknowledged = set(self.ids("acknowledged"))
        tool.results = [Done(id=each["made"], hundredths=each["hundredths"]) for each in self.lines() if "made" in each]
        tool.unacknowledged = [each for each in tool.results if each.id not in acknowledged]


class ToolProcess:
    def __init__(self, memory: Memory, torques: list[float]) -> None:
        self._memory, self._torques = memory, torques
        self._tool = ToolModel()
        memory.fill(self._tool)
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, port: int, every_s: float) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        async with server:
            while True:
                await asyncio.sleep(every_s or 3600)
                self._make(1000 + len(self._tool.results) % 50)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._tool.connect()
        while data := await reader.read(65536):
            before, known = len(self._tool.requests), len(self._tool.acknowledged)
            answer = self._tool.receive(data)
            for each in self._tool.acknowledged[known:]:
                self._memory.write(acknowledged=each)
            writer.write(answer)
            if self._torques and 43 in [each[0] for each in self._tool.requests[before:]]:
                last = [each[0] for each in self._tool.requests if each[0] in (18, 42, 43)][-2:]
                self._later(self._torques.pop(0) if last == [18, 43] else 0.0)
        self._tool.connect()

    def _later(self, torque_nm: float) -> None:
        async def operate() -> None:
            await asyncio.sleep(DELAY_S)
            self._make(round(100 * torque_nm), kind=1 if torque_nm else 2)

        task = asyncio.create_task(operate())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _make(self, hundredths: int, kind: int = 1) -> None:
        sent = self._tool.fasten(hundredths, kind=kind)
        self._memory.write(made=self._tool.results[-1].id, hundredths=hundredths)
        if sent and self._writer is not None:
            self._writer.write(sent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("memory", type=Path)
    parser.add_argument("--every", type=float, default=0.0)
    parser.add_argument("--torques", default="")
    options = parser.parse_args()
    torques = [float(each) for each in options.torques.split(",") if each]
    asyncio.run(ToolProcess(Memory(options.memory), torques).serve(options.port, options.every))


if __name__ == "__main__":
    main()
