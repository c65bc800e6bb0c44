"""Charging end to end: adapter, controller, recorder and broker as processes, with independent clients."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from broker.runtime.settings import ROOT, Settings
from tests import real_broker
from tests.real_broker import RealBroker, free_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
SCAUP = (sys.executable, "-m", "adapters.cli.main")
NAMES = ("recorder", "charging", "charger-adapter")
PAIRS = {"c1234": "wABCD", "c2": "w2", "c3": "w3"}


class Booths:
    """A running system."""

    def __init__(self, broker: RealBroker) -> None:
        self.pairs_file = broker.data_dir / "pairs.json"
        self.pairs_file.write_text(json.dumps(PAIRS))
        self.charger_port, self.widget_port = free_ports(2)
        environment = {
            **broker.settings.environment,
            "SCAUP_CHARGER_PAIRS": str(self.pairs_file),
            "SCAUP_CHARGER_PORT": str(self.charger_port),
            "SCAUP_WIDGET_PORT": str(self.widget_port),
            "SCAUP_CHARGER_PROCESSES": "2",
        }
        self.broker = replace(broker, settings=Settings.load(environment))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.clients: list[ClientConnection] = []
        self.stack = ExitStack()

    def run(self, name: str, *options: str) -> None:
        with (self.broker.data_dir / f"{name}.log").open("ab") as log:
            self.processes["".join((name, *options))] = subprocess.Popen(
                [*SCAUP, "run", name, *options], env=self.broker.environment, cwd=ROOT, stderr=log
            )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(10)

    def scaup(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [*SCAUP, *arguments]
        return subprocess.run(
            command, env=self.broker.environment, cwd=ROOT, input=typed, capture_output=True, text=True, timeout=60
        )

    def query(self, sql: str) -> list[dict[str, Any]]:
        answer = self.scaup("query", "-o", "json", sql)
        assert answer.returncode == 0, answer.stderr
        rows: list[dict[str, Any]] = json.loads(answer.stdout)
        return rows

    def charger(self, name: str = "c1234") -> ClientConnection:
        return self._connected(f"ws://localhost:{self.charger_port}/chargers/{name}")

    def widget(self, name: str = "wABCD") -> ClientConnection:
        return self._connected(f"ws://localhost:{self.widget_port}/widgets/{name}")

    def _connected(self, url: str) -> ClientConnection:
        client = self.stack.enter_context(
            connect(url, compression=None, open_timeout=20, close_timeout=0.2, ping_interval=None)
        )
        self.clients.append(client)
        return client

    def ask(self, topic: str, request: dict[str, Any]) -> dict[str, Any]:
        """Publish a request as the operator, and return the answer."""
        found: list[bytes] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="asks", protocol=paho.MQTTv5)
        client.username_pw_set("operator", (self.broker.data_dir / "credentials" / "operator").read_text().strip())
        client.on_message = lambda _client, _userdata, message: found.append(bytes(message.payload))
        client.connect(self.broker.host, self.broker.port)
        client.subscribe("charging/answer/asks", 1)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = "charging/answer/asks"
        client.publish(topic, json.dumps(request), 1, properties=properties)
        deadline_s = time.monotonic() + 35
        while not found and time.monotonic() < deadline_s:
            client.loop(0.05)
        client.disconnect()
        assert found, f"no answer to {request}"
        return dict(json.loads(found[0]))

    def retained(self, topic: str) -> dict[str, Any]:
        """Return the message retained on a topic; empty where there is none."""
        found: list[bytes] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.on_message = lambda _client, _userdata, message: found.append(bytes(message.payload))
        client.connect(self.broker.host, self.broker.port)
        client.subscribe(topic)
        deadline_s = time.monotonic() + 2
        while not found and time.monotonic() < deadline_s:
            client.loop(0.05)
        client.disconnect()
        return dict(json.loads(found[0])) if found and found[0] else {}


def soc(percent: float) -> str:
    return json.dumps({"event": "StateOfCharge", "data": {"soc": percent}})


def next_status(widget: ClientConnection, timeout_s: float = 20) -> str:
    event = json.loads(widget.recv(timeout_s))
    assert set(event) == {"event", "data"}
    assert event["event"] == "chargingStatus"
    assert set(event["data"]) == {"status"}
    return str(event["data"]["status"])


def wait_for(widget: ClientConnection, status: str) -> None:
    """Wait until a widget receives this status, after any others."""
    deadline_s = time.monotonic() + 20
    while next_status(widget) != status:
        assert time.monotonic() < deadline_s, f"{status} was not received"


def receives_nothing(widget: ClientConnection, for_s: float = 0.5) -> bool:
    with suppress(TimeoutError):
        widget.recv(for_s)
        return False
    return True


def until(condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


@contextmanager
def booths(broker: RealBroker) -> Iterator[Booths]:
    running = Booths(broker)
    try:
        for name in NAMES:
            running.run(name)
        until(lambda: running.scaup("status", *NAMES).returncode == 0, "not healthy")
        yield running
    finally:
        running.stack.close()
        for process in running.processes.values():
            process.terminate()
        assert [process.wait(20) for process in running.processes.values()] == [0] * len(running.processes)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booths]:
    created = real_broker.create(tmp_path_factory.mktemp("charging"))
    try:
        created.start()
        with booths(created) as running:
            yield running
    finally:
        real_broker.remove(created)


def test_from_the_charger_to_the_widget_and_the_tables(system: Booths) -> None:
    widget, charger = system.widget(), system.charger()
    statuses: list[str] = []
    for percent in (5, 40, 80, 99.9, 100, 40):
        charger.send(soc(percent))
        if percent not in (40, 99.9) or statuses[-1] == "charged":
            statuses.append(next_status(widget))
    assert statuses == ["charging", "charging80", "charged", "charging"]
    assert receives_nothing(widget)
    assert next_status(system.widget()) == "charging"  # one that connects later
    rows = system.query("SELECT soc FROM charger_soc WHERE charger = 'c1234' ORDER BY received_at, soc")
    assert sorted(row["soc"] for row in rows) == [5, 40, 40, 80, 99.9, 100]
    rows = system.query("SELECT status FROM widget_status WHERE widget = 'wABCD'")
    assert [row["status"] for row in rows] == statuses
    rows = system.query(
        "SELECT soc_start, soc_end, ended_by, duration_s FROM charging_session WHERE charger = 'c1234' ORDER BY started_at"
    )
    assert [(row["soc_start"], row["soc_end"], row["ended_by"]) for row in rows] == [(5, 100, "charged"), (40, None, None)]
    assert rows[0]["duration_s"] > 0
    listed = json.loads(system.scaup("chargers", "-o", "json").stdout)
    assert [(row["charger"], row["widget"], row["state"], row["soc"], row["status"]) for row in listed] == [
        ("c1234", "wABCD", "online", 40, "charging")
    ]


def test_bad_frames_are_recorded_and_keep_the_connection(system: Booths) -> None:
    charger, widget = system.charger("c2"), system.widget("w2")
    bad = [
        soc(101),
        '{"event":"StateOfCharge","data":{"soc":"70"}}',
        "{",
        '{"event":"Other","data":{"soc":7}}',
        "x" * 2_000_000,
    ]
    for text in bad:
        charger.send(text)
    charger.send(b"\x00\xff")
    charger.send(soc(81))
    assert next_status(widget) == "charging80"
    sql = "SELECT payload, payload_raw IS NOT NULL AS raw, topic FROM rejected_message WHERE component = 'charger-adapter'"
    until(lambda: len(system.query(sql)) == len(bad) + 1, "not all are kept")
    rows = system.query(sql)
    assert {row["topic"] for row in rows} == {"chargers/c2/soc"}
    assert {row["payload"] for row in rows if not row["raw"]} == set(bad)


@pytest.mark.parametrize("path", ["/chargers/c999", "/widgets/w2", "/", "/chargers/"])
def test_unknown_paths_are_refused_with_404(system: Booths, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://localhost:{system.charger_port}{path}"):
        pass
    assert caught.value.response.status_code == 404


def test_pairs_are_reloaded_while_it_runs(system: Booths) -> None:
    removed, kept = system.charger("c3"), system.charger("c2")
    with pytest.raises(InvalidStatus):
        system.charger("c4")
    pairs = {**PAIRS, "c4": "w4"}
    del pairs["c3"]
    system.pairs_file.write_text(json.dumps(pairs))

    def admitted() -> bool:
        with suppress(InvalidStatus):
            system.charger("c4")
            return True
        return False

    until(admitted, "the new pair is not let in")
    with pytest.raises(ConnectionClosed):
        removed.recv(10)
    system.pairs_file.write_text('{"c1234": ')
    kept.send(soc(50))
    assert next_status(system.widget("w2")) in ("charging", "charging80")
    system.pairs_file.write_text(json.dumps(PAIRS))


def test_pair_by_command_admits_the_charger_at_once(system: Booths) -> None:
    with pytest.raises(InvalidStatus):
        system.charger("c7")
    assert system.scaup("chargers", "pair", "c7", "w2").returncode == 1
    assert system.scaup("chargers", "pair", "c7", "w7").returncode == 0
    charger, widget = system.charger("c7"), system.widget("w7")
    charger.send(soc(50))
    wait_for(widget, "charging")
    assert json.loads(system.pairs_file.read_text())["c7"] == "w7"
    assert system.scaup("chargers", "unpair", "c7").returncode == 0
    with pytest.raises(ConnectionClosed):
        charger.recv(10)
    assert json.loads(system.pairs_file.read_text()) == PAIRS
    anonymous = ("mosquitto_pub", "-V", "5", "-q", "1", "-p", str(system.broker.settings.mqtt_port))
    request = '{"action":"unpair","charger":"c2"}'
    subprocess.run([*anonymous, "-t", "charging/request", "-m", request], capture_output=True, timeout=20, check=False)
    assert json.loads(system.scaup("chargers", "--charger", "c2", "-o", "json").stdout)[0]["widget"] == "w2"


def test_a_disconnected_charger_is_reported_to_its_widget(system: Booths) -> None:
    widget, charger = system.widget("w2"), system.charger("c2")
    charger.send(soc(30))
    wait_for(widget, "charging")
    charger.close()
    until(lambda: system.retained("chargers/c2/state").get("state") == "offline", "not offline")
    assert next_status(widget) == "unavailable"
    second = system.charger("c2")
    until(lambda: system.retained("chargers/c2/state").get("state") == "online", "not online")
    second.send(soc(31))
    assert next_status(widget) == "charging"


def test_interactive_charger_and_widget_work_together(system: Booths) -> None:
    ports = {"charger": str(system.charger_port), "widget": str(system.widget_port)}
    widget = subprocess.Popen(
        [*SCAUP, "run", "sim-widget", "--id", "wABCD", "--port", ports["widget"]],
        env=system.broker.environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert widget.stdout is not None
        assert widget.stderr is not None
        assert "Connected" in widget.stderr.readline()
        done = system.scaup("run", "sim-charger", "--id", "c1234", "--port", ports["charger"], typed="10\n80\n100\n")
        assert done.returncode == 0, done.stderr
        shown = iter(widget.stdout.readline, "")
        assert any("green" in line for line in shown)
        widget.send_signal(signal.SIGINT)
        assert widget.wait(10) == 0
    finally:
        widget.kill()
        widget.communicate()


def test_two_adapters_share_the_work(system: Booths) -> None:
    system.run("charger-adapter", "--number", "2")
    second = "charger-adapter-2"
    until(lambda: system.retained(f"components/{second}/state").get("state") == "online", "the second is not online")
    deadline_s, holders = time.monotonic() + 20, set[str]()
    while len(holders) < 2 and time.monotonic() < deadline_s:  # the kernel distributes the connections
        widget, charger = system.widget("w2"), system.charger("c2")
        for percent in (20, 85):
            charger.send(soc(percent))
            wait_for(widget, "charging" if percent == 20 else "charging80")
        until(lambda: system.retained("chargers/c2/link").get("connected"), "no link")
        holders.add(system.retained("chargers/c2/link")["adapter"])
    assert holders == {"charger-adapter", second}
    system.processes["charger-adapter--number2"].terminate()
    assert system.processes.pop("charger-adapter--number2").wait(20) == 0


def test_clients_reconnect_to_a_restarted_adapter(system: Booths) -> None:
    widget, charger = system.widget("w2"), system.charger("c2")
    charger.send(soc(90))
    wait_for(widget, "charging80")
    system.kill("charger-adapter")
    with pytest.raises(ConnectionClosed):
        charger.recv(10)
    system.run("charger-adapter")

    def back() -> bool:
        with suppress(OSError, InvalidStatus):
            system.widget("w2")
            return True
        return False

    until(back, "no connection after the restart")
    widget = system.clients[-1]
    assert next_status(widget) == "charging80"
    second = system.charger("c2")
    second.send(soc(100))
    assert next_status(widget) == "charged"
    assert next_status(system.widget("w2")) == "charged"


def test_a_killed_controller_loses_nothing(system: Booths) -> None:
    widget, charger = system.widget("w2"), system.charger("c2")
    before = len(system.query("SELECT 1 FROM charging_session WHERE charger = 'c2'"))
    charger.send(soc(10))
    wait_for(widget, "charging")
    for percent in (20, 30):
        system.kill("charging")
        charger.send(soc(percent))
        system.run("charging")
    system.kill("charging")
    charger.send(soc(85))
    charger.send(soc(100))
    system.run("charging")
    wait_for(widget, "charged")
    rows = system.query("SELECT soc_start, soc_end, ended_by FROM charging_session WHERE charger = 'c2' ORDER BY started_at")
    assert len(rows) - before <= 2  # one may have run before
    assert (rows[-1]["soc_start"], rows[-1]["soc_end"], rows[-1]["ended_by"]) == (10, 100, "charged")


def test_socs_sent_during_a_broker_outage_keep_their_order(own_broker: RealBroker) -> None:
    with booths(own_broker) as running:
        widget, charger = running.widget(), running.charger()
        charger.send(soc(10))
        assert next_status(widget) == "charging"
        own_broker.stop()
        for percent in range(11, 100):
            charger.send(soc(percent))
        own_broker.start()
        charger.send(soc(100))
        assert [next_status(widget), next_status(widget)] == ["charging80", "charged"]
        until(lambda: running.scaup("status", "recorder").returncode == 0, "the recorder is not back")
        wanted = [{"soc": float(percent)} for percent in range(10, 101)]
        sql = "SELECT soc FROM charger_soc ORDER BY number"
        until(lambda: running.query(sql) == wanted, "not all are recorded, in their order")
