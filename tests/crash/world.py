"""Broker, recorder and publishers of one trial: real processes on free ports with their own data directory."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.client.declaration import OPERATOR
from adapters.launcher.registry import components
from broker.launch import mosquitto
from broker.launch.credentials import create_passwords
from broker.runtime.settings import ROOT, Settings
from tests.crash.child import Child, until
from tests.crash.errors import Broken
from tests.crash.observer import Observer, observing
from tests.crash.sending import TOPICS, Record
from tests.real_broker import answers, free_ports

ANSWER_S = 60.0
"""Time for the recorder to answer, whatever was done to it."""
DRAIN_S = 60.0
_RECORDED = f"SELECT count(DISTINCT payload) AS n FROM messages WHERE topic LIKE '{TOPICS}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of all publishers: `least` messages at least, `rate` messages a second, `padding` bytes more in each."""

    publishers: int = 3
    least: int = 0
    rate: float = 2_400.0
    padding: int = 0


class World:
    """One trial's processes. Made by `world`, which stops them."""

    def __init__(self, broker: Child, recorder: Child, settings: Settings, observer: Observer, folder: Path) -> None:
        self.broker, self.recorder, self.folder = broker, recorder, folder
        self._settings, self._observer = settings, observer
        self._publishers: list[Child] = []
        self.killed_s: list[float] = []
        """Wall times, in seconds, at which the broker was killed."""

    def publish(self, load: Load, seed: str) -> None:
        """Start the publishers."""
        for name in range(1, load.publishers + 1):
            values: dict[str, object] = {
                "name": name,
                "host": self._settings.mqtt_host,
                "port": self._settings.mqtt_port,
                "least": load.least // load.publishers,
                "rate": load.rate / load.publishers,
                "padding": load.padding,
                "seed": f"{seed}/{name}",
                "file": self.folder / f"publisher-{name}.json",
            }
            options = [f"--{option}={value}" for option, value in values.items()]
            publisher = python("tests.crash.publisher", options, {}, self.folder / f"publisher-{name}.log")
            publisher.ends_with_input = True
            self._publishers.append(publisher)
            publisher.start()

    def stop_publishing(self) -> Record:
        """Let the publishers end, each after its last acknowledgement, and return their records."""
        record = Record()
        for publisher in self._publishers:
            publisher.end_input()
        for file in sorted(self.folder.glob("publisher-*.json")):
            record.add_file(file)
        return record

    def kill_broker(self) -> None:
        self.broker.kill()
        self.killed_s.append(time.time())

    def start_broker(self) -> None:
        self.broker.start()
        if not answers(self._settings.mqtt_host, self._settings.mqtt_port):
            raise Broken(f"the broker does not answer; its log: {self.broker.log_file}")

    def restart_recorder(self) -> None:
        """Stop it cleanly, start it, and wait until it records."""
        self.recorder.terminate()
        self.recorder.start()
        self.wait_until_recording()

    def wait_until_recording(self) -> None:
        """Wait until the recorder has recorded everything that the broker has for it by now.

        Raises:
            Broken: it does not answer.
        """
        if self._observer.query("SELECT 1 AS n", ANSWER_S) is None:
            raise self._broken(f"the recorder does not answer within {ANSWER_S:g} s")

    def drain(self, expected: int) -> None:
        """Wait until `expected` different messages are recorded, or until no more come.

        Raises:
            Broken: the recorder does not answer.
        """
        deadline_s, before = time.monotonic() + DRAIN_S, -1
        while time.monotonic() < deadline_s:
            if (recorded := self._observer.query(_RECORDED, ANSWER_S)) is None:
                raise self._broken("the recorder does not answer how much it recorded")
            if recorded >= expected or recorded == before:
                return
            before = recorded
            time.sleep(2)

    def stop(self) -> Path:
        """Stop recorder and broker cleanly and return the database."""
        self.recorder.terminate()
        self.broker.terminate()
        return database(self.recorder)

    def dispose(self) -> None:
        for child in (*self._publishers, self.recorder, self.broker):
            child.dispose()

    def _broken(self, what: str) -> Broken:
        how = "runs" if self.recorder.runs else f"has ended with exit code {self.recorder.exit_code}"
        return Broken(f"{what}; it {how}, its log: {self.recorder.log_file}")


@contextmanager
def world(folder: Path, recorder_settings: Mapping[str, str]) -> Iterator[World]:
    """Start broker and recorder with everything below `folder`, and stop at the end whatever still runs."""
    settings, passwords = _prepared(folder)
    broker = Child(
        [mosquitto.require(), "-c", mosquitto.CONFIGURATION], settings.data_dir, os.environ, folder / "mosquitto.log"
    )
    own = {"SCAUP_MQTT_USERNAME": "recorder", "SCAUP_MQTT_PASSWORD": passwords["recorder"]}
    environment = {**settings.environment, **own, **recorder_settings}
    recorder = python("storage", [], environment, folder / "recorder.log")
    with ExitStack() as clean_up:
        clean_up.callback(broker.dispose)
        broker.start()
        if not answers(settings.mqtt_host, settings.mqtt_port):
            raise Broken(f"the broker does not answer; its log: {broker.log_file}")
        account = (OPERATOR.name, passwords[OPERATOR.name])
        observer = clean_up.enter_context(observing(settings.mqtt_host, settings.mqtt_port, account))
        created = World(broker, recorder, settings, observer, folder)
        clean_up.callback(created.dispose)
        recorder.start()
        created.wait_until_recording()
        yield created


def python(module: str, arguments: list[str], settings: Mapping[str, str], log_file: Path) -> Child:
    """Return a Python process of this repository, with no other `SCAUP_` settings than these."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCAUP_")}
    return Child([sys.executable, "-m", module, *arguments], ROOT, {**environment, **settings}, log_file)


def database(recorder: Child) -> Path:
    """Return the database file of a recorder."""
    return Settings.load({"SCAUP_DATA_DIR": recorder.environment["SCAUP_DATA_DIR"]}).database


def logged(child: Child, text: str, timeout_s: float, after: int = 0) -> bool:
    """Wait until a process logs a text beyond the first `after` characters of its log; return whether it did in time."""
    return until(lambda: text in child.log()[after:], timeout_s)


def _prepared(folder: Path) -> tuple[Settings, dict[str, str]]:
    """Prepare the broker as `make up` does."""
    (port,) = free_ports(1)
    given = {"SCAUP_MQTT_PORT": str(port), "SCAUP_DATA_DIR": str(folder / "var")}
    settings = Settings.load(given)
    accounts = {**components(), OPERATOR.name: OPERATOR}
    mosquitto.prepare(settings, accounts, mosquitto.native_placement(settings))
    return settings, create_passwords(settings.data_dir, accounts)
