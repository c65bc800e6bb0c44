"""Talks to a running supervisor over its control socket."""

import time
from dataclasses import dataclass
from typing import Any
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from adapters.launcher.supervision import Place

_UP = ("STARTING", "RUNNING", "BACKOFF")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """One program, as the supervisor sees it. `pid` is 0 where it does not run; `note` says since when, or why not."""

    name: str
    state: str
    pid: int
    note: str

    @property
    def up(self) -> bool:
        """Whether it runs or the supervisor is at it."""
        return self.state in _UP


class Supervisor:
    """A supervisor, running or not."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def answers(self) -> bool:
        """Tell whether it runs and is not just shutting down."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, Fault):
            return False

    def wait(self, limit_s: float) -> bool:
        """Wait until it answers; tell whether it did in time."""
        deadline_s = time.monotonic() + limit_s
        while not (answers := self.answers()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return answers

    def processes(self) -> dict[str, ProcessInfo]:
        """Return what it knows about each program, nothing where it does not answer."""
        try:
            known = self._call("getAllProcessInfo")
        except (OSError, Fault):
            return {}
        return {
            each["name"]: ProcessInfo(
                name=each["name"],
                state=each["statename"],
                pid=each["pid"],
                note=each["spawnerr"] or each["description"],
            )
            for each in known
        }

    def start(self, process: str) -> None:
        """Start a program, given as `group:name`, without waiting for it; one that runs already is left alone."""
        try:
            self._call("startProcess", process, False)
        except Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise

    def signal(self, process: str, name: str) -> None:
        """Send a signal to a program, given as `group:name`."""
        self._call("signalProcess", process, name)

    def shut_down(self) -> bool:
        """Ask it to stop all programs in order and then itself; tell whether it answered."""
        try:
            self._call("shutdown")
        except (OSError, Fault):
            return False
        return True

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

        transport = SupervisorTransport(None, None, f"unix://{self._place.socket}")
        try:
            return getattr(ServerProxy("http://localhost", transport=transport).supervisor, method)(*arguments)
        except ProtocolError as error:
            raise OSError(error.errmsg) from error
        finally:
            transport.close()
