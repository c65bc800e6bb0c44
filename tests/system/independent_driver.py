"""A torque driver without any code of Scaup: a websocket server, the maker's messages and a script."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

Answer = Callable[[dict[str, Any]], list[Any]]


def forward(torque_nm: float, configured: float) -> dict[str, Any]:
    return {"type": "operation", "data": {"direction": "forward", "currentValue": torque_nm, "configuredValue": configured}}


REVERSED = {"type": "operation", "data": {"direction": "reverse", "configuredValue": 0, "currentValue": 0}}


@dataclass
class IndependentDriver:
    """Answers each `setTorque` with the frames from `answer`; text and bytes are sent unchanged."""

    answer: Answer
    received: list[dict[str, Any]] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)
    server: Server | None = None

    @property
    def url(self) -> str:
        assert self.server
        return f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}"

    def send(self, frame: Any) -> None:
        self.connections[-1].send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame))

    @property
    def set_to(self) -> list[str]:
        """The received messages in short: `10.0`, `reverse`, `reset`."""
        data = [(each["type"], each.get("data", {})) for each in self.received]
        return [str(setting.get("value", setting.get("direction", kind))) for kind, setting in data]

    def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        try:
            for text in connection:
                message = json.loads(text)
                self.received.append(message)
                for frame in self.answer(message):
                    self.send(frame)
        except ConnectionClosed:
            pass


@contextmanager
def driver(answer: Answer) -> Iterator[IndependentDriver]:
    """Run a driver in a thread, on a free port."""
    independent = IndependentDriver(answer)
    with serve(independent._serve, "127.0.0.1", 0, compression=None) as server:
        independent.server = server
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield independent
        finally:
            for connection in independent.connections:
                connection.close_socket()
            server.shutdown()
            thread.join(10)


def scripted(*torques_nm: float) -> Answer:
    """Answer each forward set with the next of these torques, and each reverse with its confirmation; then with nothing."""
    left = list(torques_nm)

    def answer(message: dict[str, Any]) -> list[Any]:
        setting = message.get("data", {})
        if setting.get("direction") == "reverse":
            return [REVERSED]
        return [forward(left.pop(0), setting["value"])] if setting.get("direction") == "forward" and left else []

    return answer


def good(message: dict[str, Any]) -> list[Any]:
    """Fasten every screw exactly as set."""
    setting = message.get("data", {})
    if setting.get("direction") == "reverse":
        return [REVERSED]
    return [forward(setting["value"], setting["value"])] if setting.get("direction") == "forward" else []
