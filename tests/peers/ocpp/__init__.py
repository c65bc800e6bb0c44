"""A charger by the library ocpp-rpc, run as a process; it checks what both sides send with the schemas of OCPP."""

import json
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from tests import peers

WITHIN_S = 30.0


class Charger:
    """The charger; `lines` has what it reported (see `charger.cjs`)."""

    def __init__(self, url: str, name: str, subprotocols: str, mode: str = "strict", *more: str) -> None:
        script = peers.require("ocpp") / "charger.cjs"
        command = [peers.node(), str(script), url, name, subprotocols, mode, *more]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._calls = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(json.loads(line))
                self._changed.notify_all()

    def wait(self, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the first line wanted."""

        def found() -> dict[str, Any] | None:
            return next((each for each in self.lines if wanted(each)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, WITHIN_S), self.lines
            result = found()
            assert result is not None
            return result

    def send(self, method: str, **params: Any) -> int:
        """Begin a call, and return its number; it is repeated until it is answered."""
        self._calls += 1
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": self._calls, "method": method, "params": params}) + "\n")
        self.process.stdin.flush()
        return self._calls

    def answer(self, number: int) -> dict[str, Any]:
        """Return the answer to a call."""
        found = self.wait(lambda line: line.get("id") == number)
        assert "result" in found, found
        result: dict[str, Any] = found["result"]
        return result

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call, and return the answer."""
        return self.answer(self.send(method, **params))

    def asked(self, method: str) -> dict[str, Any]:
        """Return the payload of a request of the server."""
        params: dict[str, Any] = self.wait(lambda line: line.get("method") == method)["params"]
        return params

    def stop(self) -> None:
        """Kill it; nothing may have been invalid by the schemas."""
        self.process.kill()
        self._reader.join(10)
        self.process.communicate(timeout=10)
        assert [each for each in self.lines if "invalid" in each] == []
