"""Attacks from other machines on a real broker and real adapters: what comes back, and what goes on meanwhile."""

import asyncio
import base64
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from adapters.launcher.checks import Verdict
from adapters.launcher.checks.outside import check_outside
from adapters.launcher.registry import components
from broker.contract.roles import Role
from broker.launch import accounts, certificates, mosquitto, tls
from broker.launch.authority import Authority
from broker.launch.credentials import write_private
from broker.runtime.settings import Settings
from tests import real_broker
from tests.real_broker import RealBroker, free_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]

PROGRAMS = ("adapters.machine_api", "adapters.energy_api", "adapters.chargers", "controllers.charging")
PORTS = ("SCAUP_MACHINE_API_PORT", "SCAUP_ENERGY_API_PORT", "SCAUP_CHARGER_PORT", "SCAUP_WIDGET_PORT")
PEOPLE = {"1": Role.DEVICE, "c1234": Role.DEVICE, "vera": Role.VIEWER, "otto": Role.OPERATOR, "anna": Role.VIEWER}
EVIL = "https://evil.example"
MACHINE_READING = b'{"id":1,"temperature":20.5,"fan_speed":1000}'
READING = b'{"sensorID":"s","type":"temperature","value":21.5}'
START_TIMEOUT_S = 30.0


@dataclass
class Plant:
    """A system whose listeners are open to other machines, and `host`, an address of this machine as they see it."""

    broker: RealBroker
    host: str
    ports: dict[str, int]
    passwords: dict[str, str] = field(default_factory=dict)

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.broker.data_dir / tls.AUTHORITY))

    def login(self, name: str, password: str | None = None) -> dict[str, str]:
        given = self.passwords.get(name, "") if password is None else password
        return {"Authorization": f"Basic {base64.b64encode(f'{name}:{given}'.encode()).decode()}"}

    def connection(self, port: str) -> HTTPSConnection:
        return HTTPSConnection(self.host, self.ports[port], context=self.trust, timeout=10)

    def ask(self, port: str, method: str, path: str, headers: dict[str, str], body: str | None = None) -> tuple[int, str]:
        """Return status and error text of a request over TLS."""
        made = self.connection(port)
        try:
            made.request(method, path, body, {"Content-Type": "application/json", **headers})
            answer = made.getresponse()
            return answer.status, _error(answer)
        finally:
            made.close()

    def websocket(self, port: str, path: str, headers: dict[str, str], **options: Any) -> int:
        """Return the status of a websocket's handshake over TLS."""

        async def shake_hands() -> int:
            url = f"wss://{self.host}:{self.ports[port]}{path}"
            try:
                async with connect(url, ssl=self.trust, additional_headers=headers, **options):
                    return 101
            except InvalidStatus as error:
                return error.response.status_code

        return asyncio.run(shake_hands())

    @contextmanager
    def mqtt(self, name: str | None, password: str | None = None, **options: Any) -> Iterator["Client"]:
        """Connect to the broker with TLS."""
        client = Client(self, name, self.passwords.get(name or "", "") if password is None else password, **options)
        try:
            yield client
        finally:
            client.paho.disconnect()
            client.paho.loop_stop()


class Client:
    """An MQTT 5 client: the reason codes of what it did, and what it received."""

    def __init__(self, plant: Plant, name: str | None, password: str, client_id: str = "", session_s: int = 0) -> None:
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, reconnect_on_failure=False)
        self.paho.max_inflight_messages_set(1_000)
        self.paho.tls_set_context(plant.trust)
        if name is not None:
            self.paho.username_pw_set(name, password)
        self.code, self.codes, self.ended = -1, list[int](), threading.Event()
        self.heard: list[tuple[str, bytes]] = []
        self._up = threading.Event()
        self.paho.on_connect = self._on_connect
        self.paho.on_publish = lambda _client, _data, _mid, code, _properties: self.codes.append(code.value)
        self.paho.on_message = lambda _client, _data, message: self.heard.append((message.topic, bytes(message.payload)))
        self.paho.on_disconnect = lambda *_: self.ended.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_s
        self.paho.connect("localhost", plant.broker.settings.mqtt_tls_port, clean_start=not session_s, properties=properties)
        self.paho.loop_start()
        until(lambda: self._up.is_set() or self.ended.is_set())

    def _on_connect(self, _client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
        self.code = code.value
        self._up.set()

    def publish(self, *topics: str, payload: bytes = READING, retain: bool = False) -> list[int]:
        """Publish on these topics; return the broker's reason codes."""
        before = len(self.codes)
        for each in topics:
            self.paho.publish(each, payload, qos=1, retain=retain)
        until(lambda: len(self.codes) >= before + len(topics) or self.ended.is_set())
        return self.codes[before:]

    def subscribe(self, *filters: str) -> None:
        done = threading.Event()
        self.paho.on_subscribe = lambda *_: done.set()
        self.paho.subscribe([(each, SubscribeOptions(1)) for each in filters])
        assert done.wait(10)


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def _error(answer: HTTPResponse) -> str:
    with suppress(ValueError):
        return str(json.loads(answer.read()).get("error", ""))
    return ""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("outside")
    opened = Settings.load({"SCAUP_DATA_DIR": str(folder), "SCAUP_BIND": "0.0.0.0"})
    hosts = [each for each in certificates.outside_addresses(opened) if ":" not in each]
    if not hosts:
        pytest.skip("this machine has no address beside loopback")
    certificates.ensure(opened)
    made = Plant(real_broker.create(folder, tls=True), hosts[0], dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    add(made, PEOPLE)
    pairs = folder / "pairs.json"
    pairs.write_text('{"c1234": "wABCD"}')
    variables = {name: str(port) for name, port in made.ports.items()} | {"SCAUP_CHARGER_PAIRS": str(pairs)}
    environment = {**made.broker.environment, **variables, "SCAUP_BIND": "0.0.0.0"}
    with ExitStack() as stack:
        made.broker.start()
        stack.callback(real_broker.remove, made.broker)
        log = stack.enter_context((folder / "log").open("wb"))
        for each in PROGRAMS:
            process = subprocess.Popen([sys.executable, "-m", each], env=environment, stderr=log)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        until(lambda: all(listens(made.host, port) for port in made.ports.values()))
        until(lambda: made.websocket("SCAUP_CHARGER_PORT", "/chargers/c1234", made.login("otto")) == 101)
        with made.mqtt("1") as machine:
            assert machine.publish("machines/1/reading", payload=MACHINE_READING) == [0]
        until(lambda: made.ask("SCAUP_MACHINE_API_PORT", "GET", "/data?id=1", made.login("vera"))[0] == 200)
        yield made


def add(plant: Plant, people: dict[str, Role]) -> None:
    """Add accounts, and let the broker read them."""
    known = accounts.read_accounts(plant.broker.data_dir)
    for name, role in people.items():
        known[name], plant.passwords[name] = accounts.new_account(name, role, (), datetime.now(UTC))
    accounts.write_accounts(plant.broker.data_dir, known.values())
    mosquitto.write_logins(plant.broker.data_dir, plant.broker.declarations)


def listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def test_loopback_stays_as_it_is_beside_tls(plant: Plant) -> None:
    with plant.mqtt("1") as client:
        assert client.publish("machines/1/reading", payload=MACHINE_READING) == [0]
    url = f"http://127.0.0.1:{plant.ports['SCAUP_MACHINE_API_PORT']}/data?id=1"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
    assert plant.ask("SCAUP_MACHINE_API_PORT", "GET", "/data?id=1", plant.login("vera")) == (200, "")


@pytest.mark.parametrize("port", PORTS)
def test_plain_text_is_refused_beyond_loopback(plant: Plant, port: str) -> None:
    made = HTTPConnection(plant.host, plant.ports[port], timeout=10)
    made.request("GET", "/data?id=1", headers=plant.login("otto"))
    answer = made.getresponse()
    assert (answer.status, "TLS" in _error(answer)) == (400, True)
    made.close()
    assert not listens(plant.host, plant.broker.port), "MQTT in plain text"


def test_foreign_pages_are_refused_with_a_login_too(plant: Plant) -> None:
    evil = plant.login("otto") | {"Origin": EVIL}
    for port, path in (("SCAUP_MACHINE_API_PORT", "/data?id=1"), ("SCAUP_ENERGY_API_PORT", "/data")):
        assert plant.ask(port, "GET", path, evil)[0] == 403
        assert plant.ask(port, "POST", path, evil, "{}")[0] == 403
        assert plant.ask(port, "GET", path, plant.login("otto") | {"Host": "evil.example"})[0] == 421
    for port, path in (("SCAUP_CHARGER_PORT", "/chargers/c1234"), ("SCAUP_WIDGET_PORT", "/widgets/wABCD")):
        assert plant.websocket(port, path, plant.login("otto"), origin=EVIL) == 403
        assert plant.websocket(port, path, plant.login("otto")) == 101


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("vera", "wrong"),
        ("vera", ""),
        ("nobody", "x"),
        ("../operator", "x"),
        ("..", "x"),
        ("+", "x"),
        ("#", "x"),
        ("a\nb", "x"),
        ("machine-api", None),
        ("%u", "x"),
        ("a" * 500, "x"),
    ],
)
def test_wrong_logins_are_refused_everywhere(plant: Plant, name: str, password: str | None) -> None:
    """Whatever the name. Passwords of components are for their component only: not for HTTP."""
    own = (plant.broker.data_dir / "credentials" / "machine-api").read_text().strip()
    given = plant.login(name, own if password is None else password)
    assert plant.ask("SCAUP_MACHINE_API_PORT", "GET", "/data?id=1", given)[0] == 401
    assert plant.websocket("SCAUP_CHARGER_PORT", "/chargers/c1234", given) == 401
    if password is not None:
        with plant.mqtt(name, password) as client:
            assert client.code != 0


def test_doctor_sees_which_ports_ask_for_a_login(plant: Plant) -> None:
    variables = {name: str(port) for name, port in plant.ports.items()} | {"SCAUP_DATA_DIR": str(plant.broker.data_dir)}
    known = components()
    declarations = [known[name] for name in ("machine-api", "energy-api", "charger-adapter")]
    opened = check_outside(Settings.load({**variables, "SCAUP_BIND": plant.host}), declarations)
    assert [(each.verdict, "over TLS" in each.detail) for each in opened] == [(Verdict.OK, True)] * 4
    alone = {**variables, "SCAUP_BIND": "127.0.0.2", "SCAUP_PLAINTEXT": "yes"}
    assert check_outside(Settings.load(alone), declarations) == []
    plain = check_outside(Settings.load({**variables, "SCAUP_BIND": plant.host, "SCAUP_PLAINTEXT": "yes"}), declarations)
    assert {each.verdict for each in plain} == {Verdict.FAILED}


def test_without_a_login_nothing_is_answered(plant: Plant) -> None:
    for port in PORTS[:2]:
        for path in ("/data", "/health", "/docs", "/openapi.json"):
            assert plant.ask(port, "GET", path, {})[0] == 401
        assert plant.ask(port, "POST", "/data", {}, "{}")[0] == 401
    assert plant.websocket("SCAUP_CHARGER_PORT", "/chargers/c1234", {}) == 401
    assert plant.websocket("SCAUP_WIDGET_PORT", "/widgets/wABCD", {}) == 401
    with plant.mqtt(None) as client:
        assert client.code == 0x87


def test_a_device_keeps_to_its_own(plant: Plant) -> None:
    machines, energy = "SCAUP_MACHINE_API_PORT", "SCAUP_ENERGY_API_PORT"
    device, status = plant.login("1"), '{"status":"idle"}'
    assert plant.ask(machines, "POST", "/status?id=1", device, status) == (200, "")
    assert plant.ask(machines, "POST", "/status?id=2", device, status)[0] == 403
    assert plant.ask(machines, "GET", "/data?id=1", device)[0] == 403
    assert plant.ask(machines, "POST", "/status?id=1", plant.login("vera"), status)[0] == 403
    assert plant.ask(machines, "POST", "/status?id=1", plant.login("otto"), status)[0] == 200
    assert plant.ask(energy, "POST", "/data", device, '{"spaceship_id":"2"}')[0] == 403
    assert plant.websocket("SCAUP_CHARGER_PORT", "/chargers/c1234", device) == 403
    assert plant.websocket("SCAUP_WIDGET_PORT", "/widgets/wABCD", plant.login("vera")) == 403
    with plant.mqtt("1") as client:
        others = ["/readings/2/temperature", "machines/2/reading", "energy/2/raw", "heating/1/setpoint", "/actuators/1"]
        others += ["chargers/c1234/soc", "storage/query", "components/machine-api/state", "machines/1/status"]
        assert client.publish(*others) == [0x87] * len(others)
        assert max(client.publish("/readings/1/temperature", "machines/1/reading")) < 0x80


def test_answers_to_others_are_not_heard(plant: Plant) -> None:
    topic = "storage/answer/operator/x"
    password = (plant.broker.data_dir / "credentials" / "recorder").read_text().strip()
    with ExitStack() as stack:
        spies = [stack.enter_context(plant.mqtt(name)) for name in ("vera", "1", "otto")]
        for each in spies:
            each.subscribe("#", "storage/answer/#", topic, "/readings/1/#")
        recorder = stack.enter_context(plant.mqtt("recorder", password))
        assert recorder.publish(topic)[0] < 0x80
        device = stack.enter_context(plant.mqtt("1"))
        assert device.publish("/readings/1/end")[0] < 0x80
        until(lambda: any(each == "/readings/1/end" for each, _ in spies[0].heard))
        assert not [each for spy in spies for each, _ in spy.heard if each.startswith("storage/answer")]


def test_a_thousand_wrong_logins_harm_only_the_guesser(plant: Plant) -> None:
    port = "SCAUP_MACHINE_API_PORT"
    with closing(plant.connection(port)) as good, closing(plant.connection(port)) as bad:
        good.request("GET", "/data?id=1", headers=plant.login("vera"))
        assert good.getresponse().read()
        found: list[int] = []
        for number in range(1_000):
            bad.request("GET", "/data?id=1", headers=plant.login("anna", f"guess-{number}"))
            answer = bad.getresponse()
            answer.read()
            found.append(answer.status)
        assert set(found) == {401, 429}
        assert found.count(401) < 30
        bad.request("GET", "/data?id=1", headers=plant.login("anna"))
        assert bad.getresponse().status == 429, "also the right one, from that address: else it could be guessed"
        good.request("GET", "/data?id=1", headers=plant.login("vera"))
        assert good.getresponse().status == 200


def test_a_thousand_wrong_logins_over_mqtt_cut_no_one_off(plant: Plant) -> None:
    connect_packet = mqtt_connect("vera", "wrong")
    with plant.mqtt("1") as client:
        for _ in range(1_000):
            with socket.create_connection(("127.0.0.1", plant.broker.port), timeout=10) as raw:
                raw.sendall(connect_packet)
                assert raw.recv(5)[3] >= 0x80
        assert client.publish("/readings/1/temperature")[0] < 0x80
        assert not client.ended.is_set()


def mqtt_connect(name: str, password: str) -> bytes:
    """Return a CONNECT packet of MQTT 5 (section 3.1)."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(2, "big") + value.encode()

    body = text("MQTT") + b"\x05\xc2\x00\x3c\x00" + text("") + text(name) + text(password)
    return b"\x10" + bytes([len(body)]) + body


def test_a_stolen_client_id_gives_no_messages(plant: Plant) -> None:
    password = (plant.broker.data_dir / "credentials" / "heating").read_text().strip()
    with plant.mqtt("1", client_id="press-1", session_s=300) as device:
        device.subscribe("/actuators/1")
    with plant.mqtt("heating", password) as heating:
        assert heating.publish("/actuators/1")[0] < 0x80
    with plant.mqtt("c1234", client_id="press-1", session_s=300) as thief:
        thief.subscribe("/actuators/c1234")
        thief.publish("/readings/c1234/x")
        assert thief.heard == []


@contextmanager
def recorded(host: str, port: int) -> Iterator[tuple[int, bytearray]]:
    """Listen between a client and a server, as someone in the network does; yield the port, and the client's bytes."""
    taken = bytearray()
    server = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket, keep: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                taken.extend(data if keep else b"")
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def carry() -> None:
        with suppress(OSError):
            near = server.accept()[0]
            far = socket.create_connection((host, port))
            back = threading.Thread(target=copy, args=(far, near, False), daemon=True)
            back.start()
            copy(near, far, True)
            back.join(5)
            near.close()
            far.close()

    threading.Thread(target=carry, daemon=True).start()
    try:
        yield server.getsockname()[1], taken
    finally:
        server.close()


def test_recorded_bytes_are_worthless(plant: Plant) -> None:
    """A recorded login over TLS, sent again: with HTTP and with MQTT."""
    http, mqtt = plant.ports["SCAUP_MACHINE_API_PORT"], plant.broker.settings.mqtt_tls_port
    with plant.mqtt("1") as machine:
        assert machine.publish("machines/1/reading", payload=MACHINE_READING)[0] < 0x80
    request = f"POST /status?id=1 HTTP/1.1\r\nHost: {plant.host}\r\nContent-Type: application/json\r\n"
    request += f"Authorization: {plant.login('otto')['Authorization']}\r\nContent-Length: 17\r\n\r\n"
    sent = {
        (plant.host, http): request.encode() + b'{"status":"idle"}',
        ("127.0.0.1", mqtt): mqtt_connect("otto", plant.passwords["otto"]),
    }
    with plant.mqtt("vera") as viewer:
        viewer.subscribe("machines/1/status", "/readings/1/#")
        for (host, port), plain in sent.items():
            with recorded(host, port) as (between, taken):
                raw = socket.create_connection(("127.0.0.1", between), timeout=10)
                with plant.trust.wrap_socket(raw, server_hostname=host) as client:
                    client.sendall(plain)
                    assert client.recv(100).startswith((b"HTTP/1.1 200", b"\x20"))
            with socket.create_connection((host, port), timeout=10) as replay, suppress(OSError):
                replay.sendall(taken)
                while replay.recv(65_536):
                    pass
        with plant.mqtt("1") as machine:
            machine.publish("/readings/1/end")
        until(lambda: any(each == "/readings/1/end" for each, _ in viewer.heard))
        assert [each for each, _ in viewer.heard].count("machines/1/status") == 1


def test_ended_and_foreign_certificates_are_noticed(plant: Plant, tmp_path: Path) -> None:
    Authority.make("elsewhere", datetime.now(UTC)).save(tmp_path / "ca.pem", tmp_path / "ca.key")
    foreign = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    address = plant.host, plant.ports["SCAUP_ENERGY_API_PORT"]

    def handshake(context: ssl.SSLContext, host: str = plant.host) -> None:
        with socket.create_connection(address, timeout=10) as raw, context.wrap_socket(raw, server_hostname=host):
            pass

    with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|unable to get local issuer"):
        handshake(foreign)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(plant.trust, "elsewhere.example")
    path, now = plant.broker.data_dir / tls.SERVER, datetime.now(UTC)
    good = path.read_text()
    authority = certificates.open_authority(plant.broker.data_dir, now)
    write_private(path, authority.server([plant.host], now - timedelta(days=398)))
    try:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            handshake(plant.trust)
    finally:
        write_private(path, good)
    handshake(plant.trust)


def test_invented_rooms_and_machines_are_refused(plant: Plant) -> None:
    """20,000 of them by one device, also as retained messages; another device goes on meanwhile."""
    with plant.mqtt("1") as flood, plant.mqtt("c1234") as other:
        topics = [f"/readings/r{number}/temperature" for number in range(10_000)]
        topics += [f"machines/m{number}/reading" for number in range(10_000)]
        done = threading.Thread(target=flood.publish, args=topics, kwargs={"retain": True})
        done.start()
        longest_s = 0.0
        while done.is_alive():
            started_s = time.monotonic()
            assert other.publish("/readings/c1234/temperature")[0] < 0x80
            longest_s = max(longest_s, time.monotonic() - started_s)
        done.join()
        assert flood.codes == [0x87] * 20_000
        assert longest_s < 5
        other.subscribe("/actuators/c1234")
    with plant.mqtt("vera") as viewer:
        viewer.subscribe("/readings/#", "machines/#")
        time.sleep(0.5)
        assert not [each for each, _ in viewer.heard if each.startswith(("/readings/r", "machines/m"))]


def test_huge_requests_are_refused(plant: Plant) -> None:
    assert plant.ask("SCAUP_MACHINE_API_PORT", "POST", "/status?id=1", plant.login("1"), "x" * 100_000)[0] == 413
    assert plant.ask("SCAUP_ENERGY_API_PORT", "POST", "/data", plant.login("1"), "x" * 33_600_000)[0] == 413


def test_a_thousand_idle_sockets_keep_no_one_out(plant: Plant) -> None:
    port = plant.ports["SCAUP_CHARGER_PORT"]
    with ExitStack() as stack:
        for number in range(1_000):
            raw = stack.enter_context(socket.create_connection((plant.host, port), timeout=10))
            if number % 3:
                raw.sendall(b"\x16\x03\x01\x02")
        started_s = time.monotonic()
        assert plant.websocket("SCAUP_CHARGER_PORT", "/chargers/c1234", plant.login("c1234")) == 101
        assert time.monotonic() - started_s < 5
