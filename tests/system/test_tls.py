"""TLS on a real broker: trusted authorities, admitted clients, and renewals and revocations while it runs."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from adapters.client.errors import Refused, Unreachable, Untrusted
from adapters.client.paho_bus import connected
from adapters.launcher import security
from adapters.launcher.checks import Verdict
from broker.contract.roles import Role
from broker.launch import accounts, certificates, device_certificates, mosquitto, tls
from broker.launch.authority import Authority
from broker.launch.credentials import write_private
from broker.message import Publication
from broker.mqtt.options import Address
from broker.runtime.settings import Settings, read_password
from tests import real_broker
from tests.real_broker import RealBroker
from tests.system.test_lifecycle import new_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
DEVICE = "room-tls"
TOPIC = f"/readings/{DEVICE}/temperature"


@pytest.fixture(scope="module")
def secure_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    made = real_broker.create(tmp_path_factory.mktemp("secure"), tls=True)
    try:
        made.start()
        yield made
    finally:
        real_broker.remove(made)


def address(broker: RealBroker, **changes: Any) -> Address:
    """Return the address of the TLS port with the operator's login."""
    password = read_password(broker.data_dir, "operator")
    ca = str(broker.data_dir / tls.AUTHORITY)
    made = Address(host="localhost", port=broker.settings.mqtt_tls_port, username="operator", password=password, ca=ca)
    return replace(made, **changes)


def test_a_login_is_admitted_over_tls(secure_broker: RealBroker) -> None:
    with connected(address(secure_broker)) as bus:
        assert bus.retained("$SYS/broker/version")


def test_a_component_works_over_tls(secure_broker: RealBroker, tmp_path: Path) -> None:
    """As on another machine: it has its login and the authority from the environment, and no data directory."""
    where = {"SCAUP_MQTT_HOST": "localhost", "SCAUP_MQTT_PORT": str(secure_broker.settings.mqtt_tls_port)}
    login = {"SCAUP_MQTT_USERNAME": "heating", "SCAUP_MQTT_PASSWORD": read_password(secure_broker.data_dir, "heating") or ""}
    given = {**where, **login, "SCAUP_MQTT_CA": str(secure_broker.data_dir / tls.AUTHORITY), "SCAUP_DATA_DIR": str(tmp_path)}
    given["SCAUP_TIME_SCALE"] = "60"
    with connected(address(secure_broker)) as bus:
        bus.subscribe("heating/far/state")
        with subprocess.Popen([sys.executable, "-m", "controllers.heating"], env={**os.environ, **given}) as process:
            try:
                while not bus.retained("components/heating/state"):
                    assert process.poll() is None
                with connected(Address(host="localhost", port=secure_broker.port)) as near:
                    assert near.try_publish(Publication(topic="/readings/far/temperature", payload=reading().payload)) < 0x80
                topics = iter(lambda: getattr(bus.receive(20), "topic", None), None)
                assert "heating/far/state" in topics
            finally:
                process.terminate()


def test_without_a_login_nobody_is_admitted_over_tls(secure_broker: RealBroker) -> None:
    with pytest.raises(Refused, match="requires a login"), connected(address(secure_broker, username=None, password=None)):
        pass
    with connected(Address(host=secure_broker.host, port=secure_broker.port)) as bus:
        assert bus.retained("$SYS/broker/version")


def test_plain_text_and_tls_do_not_mix(secure_broker: RealBroker) -> None:
    with pytest.raises(Unreachable, match="if this is its port for TLS"), connected(address(secure_broker, ca=None)):
        pass
    with pytest.raises(Untrusted, match="does not speak TLS"), connected(address(secure_broker, port=secure_broker.port)):
        pass


def test_old_versions_of_tls_are_refused(secure_broker: RealBroker) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match="tlsv1 alert"):
        handshake(secure_broker, secure_broker.settings.mqtt_tls_port, context)


def test_another_authority_and_another_name_are_refused(secure_broker: RealBroker, tmp_path: Path) -> None:
    Authority.make("elsewhere", datetime.now(UTC)).save(tmp_path / "ca.pem", tmp_path / "ca.key")
    with pytest.raises(Untrusted, match="not of the authority"), connected(address(secure_broker, ca=str(tmp_path / "ca.pem"))):
        pass
    with pytest.raises(Untrusted, match=r"not for the name 127\.1"), connected(address(secure_broker, host="127.1")):
        pass


def test_renewal_cuts_no_client(secure_broker: RealBroker) -> None:
    before = serial_served(secure_broker)
    with connected(address(secure_broker)) as secure, connected(Address(host="localhost", port=secure_broker.port)) as plain:
        secure.subscribe(TOPIC)
        certificates.renew(secure_broker.settings)
        reload(secure_broker, lambda: serial_served(secure_broker) != before)
        plain.try_publish(reading())
        heard = secure.receive(10)
        assert heard is not None
        assert heard.topic == TOPIC


def test_an_ended_certificate_is_refused(secure_broker: RealBroker) -> None:
    path, now = secure_broker.data_dir / tls.SERVER, datetime.now(UTC)
    good, before = path.read_text(), serial_served(secure_broker)
    authority = certificates.open_authority(secure_broker.data_dir, now)
    write_private(path, authority.server(["localhost"], now - timedelta(days=398)))
    try:
        reload(secure_broker, lambda: serial_served(secure_broker) != before)
        with pytest.raises(Untrusted, match="has ended"), connected(address(secure_broker)):
            pass
    finally:
        write_private(path, good)
        reload(secure_broker, lambda: serial_served(secure_broker) == before)


def test_a_device_logs_in_with_its_certificate(secure_broker: RealBroker, tmp_path: Path) -> None:
    with device(secure_broker, account(secure_broker, tmp_path)) as (client, _):
        assert publish(client, TOPIC) < 0x80
        assert publish(client, "/readings/another-room/temperature") == 0x87


def test_a_new_certificate_ends_the_rights_of_the_one_before(secure_broker: RealBroker, tmp_path: Path) -> None:
    pem = account(secure_broker, tmp_path)
    with device(secure_broker, pem) as (client, _):
        assert publish(client, TOPIC) < 0x80
        device_certificates.issue(secure_broker.data_dir, DEVICE)
        mosquitto.write_logins(secure_broker.data_dir, secure_broker.declarations)
        reload(secure_broker, lambda: not admitted(secure_broker, pem))
        assert publish(client, TOPIC) == 0x87


def test_a_revoked_certificate_is_useless(secure_broker: RealBroker, tmp_path: Path) -> None:
    pem = account(secure_broker, tmp_path)
    with device(secure_broker, pem) as (client, heard):
        subscribed(client, f"/actuators/{DEVICE}")
        remove_account(secure_broker)
        reload(secure_broker, lambda: not admitted(secure_broker, pem))
        assert publish(client, TOPIC) == 0x87
        with connected(heating(secure_broker)) as controller:
            assert controller.try_publish(actuator()) < 0x80
        time.sleep(0.3)
        assert heard == []


@pytest.mark.parametrize("kind", ["none", "of another authority", "of a server"])
def test_foreign_client_certificates_are_refused(secure_broker: RealBroker, tmp_path: Path, kind: str) -> None:
    authority, now = certificates.open_authority(secure_broker.data_dir, datetime.now(UTC)), datetime.now(UTC)
    foreign = {
        "of another authority": Authority.make("elsewhere", now).device("operator", now),
        "of a server": authority.server(["operator"], now),
    }
    pem = tmp_path / "foreign.pem"
    pem.write_text(foreign.get(kind, ""))
    assert not admitted(secure_broker, None if kind == "none" else pem)


def heating(broker: RealBroker) -> Address:
    return Address(host="localhost", port=broker.port, username="heating", password=read_password(broker.data_dir, "heating"))


def reading() -> Publication:
    return Publication(topic=TOPIC, payload=b'{"sensorID":"s","type":"temperature","value":21.5}')


def actuator() -> Publication:
    return Publication(topic=f"/actuators/{DEVICE}", payload=b'{"type":"valve","level":10}')


def account(broker: RealBroker, folder: Path) -> Path:
    """Add the device's account and return its certificate's file."""
    made, _ = accounts.new_account(DEVICE, Role.DEVICE, (), datetime.now(UTC))
    accounts.write_accounts(broker.data_dir, [made])
    pem = folder / "device.pem"
    pem.write_text(device_certificates.issue(broker.data_dir, DEVICE))
    mosquitto.write_logins(broker.data_dir, broker.declarations)
    reload(broker, lambda: admitted(broker, pem))
    return pem


def remove_account(broker: RealBroker) -> None:
    accounts.write_accounts(broker.data_dir, [])
    assert device_certificates.revoke(broker.data_dir, DEVICE)
    mosquitto.write_logins(broker.data_dir, broker.declarations)


def reload(broker: RealBroker, done: Callable[[], bool]) -> None:
    """Let the broker read its files again, and wait until that has an effect: 2 s at most."""
    broker.reload()
    deadline_s = time.monotonic() + 2
    while not done():
        assert time.monotonic() < deadline_s, "the broker has not read its files again within 2 s"
        time.sleep(0.05)


def handshake(broker: RealBroker, port: int, context: ssl.SSLContext) -> str:
    with socket.create_connection(("localhost", port), timeout=5) as raw, context.wrap_socket(raw) as made:
        return str(made.getpeercert(binary_form=True))


def serial_served(broker: RealBroker) -> str:
    """Return what identifies the certificate that the broker serves now."""
    return ssl.get_server_certificate(("localhost", broker.settings.mqtt_tls_port), timeout=5)


def new_device(broker: RealBroker, pem: Path | None) -> paho.Client:
    made = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, reconnect_on_failure=False)
    context = ssl.create_default_context(cafile=str(broker.data_dir / tls.AUTHORITY))
    if pem is not None:
        context.load_cert_chain(pem)
    made.tls_set_context(context)
    return made


@contextmanager
def device(broker: RealBroker, pem: Path) -> Iterator[tuple[paho.Client, list[bytes]]]:
    """Connect with a certificate; collects the payloads that arrive."""
    made, up, heard = new_device(broker, pem), threading.Event(), list[bytes]()
    made.on_connect = lambda *_: up.set()
    made.on_message = lambda _client, _data, message: heard.append(bytes(message.payload))
    made.connect("localhost", broker.settings.mqtt_certificate_port)
    made.loop_start()
    try:
        assert up.wait(10)
        yield made, heard
    finally:
        made.disconnect()
        made.loop_stop()


def admitted(broker: RealBroker, pem: Path | None) -> bool:
    """Return whether the broker accepts a connection with this certificate."""
    made, codes = new_device(broker, pem), list[int]()
    made.on_connect = lambda _client, _data, _flags, code, _properties: codes.append(code.value)
    with suppress(OSError):
        made.connect("localhost", broker.settings.mqtt_certificate_port)
        while not codes and made.loop(0.2) == paho.MQTT_ERR_SUCCESS:
            pass
    made.disconnect()
    return codes == [0]


def admitted_to_websockets(settings: Settings, account: str | None) -> bool:
    """Return whether the broker accepts a connection over websockets with TLS."""
    made, codes = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport="websockets"), list[int]()
    made.tls_set_context(ssl.create_default_context(cafile=str(settings.data_dir / tls.AUTHORITY)))
    if account is not None:
        made.username_pw_set(account, read_password(settings.data_dir, account))
    made.on_connect = lambda _client, _data, _flags, code, _properties: codes.append(code.value)
    assert settings.mqtt_ws_port is not None
    made.connect("127.0.0.1", settings.mqtt_ws_port)
    while not codes and made.loop(0.2) == paho.MQTT_ERR_SUCCESS:
        pass
    made.disconnect()
    return codes == [0]


def shown_passwords(data_dir: Path) -> list[str]:
    """Return where a generated password shows: in a command line, a log, or a file beside the credentials."""
    known = [read_password(data_dir, name) for name in ("operator", "recorder", "device")]
    assert all(known)
    places = {f"process {each.pid}": " ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])}
    files = (each for each in data_dir.rglob("*") if each.is_file() and each.parent.name != "credentials")
    places |= {str(each): each.read_bytes().decode(errors="replace") for each in files}
    return [place for place, text in places.items() if any(password in text for password in known if password)]


def publish(client: paho.Client, topic: str) -> int:
    """Publish with QoS 1 and return the broker's reason code."""
    done, codes = threading.Event(), list[int]()

    def on_publish(_client: object, _data: object, _mid: int, reason: Any, _properties: object) -> None:
        codes.append(reason.value)
        done.set()

    client.on_publish = on_publish
    client.publish(topic, b'{"sensorID":"s","type":"temperature","value":21.5}', qos=1)
    assert done.wait(10)
    return codes[0]


def subscribed(client: paho.Client, topic: str) -> None:
    done = threading.Event()
    client.on_subscribe = lambda *_: done.set()
    client.subscribe(topic, qos=1)
    assert done.wait(10)


def test_up_opens_only_tls_and_renews_while_it_runs(tmp_path: Path) -> None:
    ws_port = str(real_broker.free_ports(1)[0])
    plant = new_plant(tmp_path.resolve(), SCAUP_BIND="0.0.0.0", SCAUP_COMPONENTS="recorder", SCAUP_MQTT_WS_PORT=ws_port)
    settings, port = plant.settings, plant.settings.mqtt_port
    try:
        up = plant.make("up")
        assert up.returncode == 0, up.stderr
        assert "made a certificate authority" in up.stderr
        found = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.laddr]
        listening = {(each.laddr[1:2], each.laddr[:1]) for each in found}
        assert {address for used, address in listening if used == (port,)} <= {("127.0.0.1",), ("::1",)}
        assert ((settings.mqtt_tls_port,), ("0.0.0.0",)) in listening
        assert [admitted_to_websockets(settings, name) for name in ("operator", None)] == [True, False]
        assert shown_passwords(settings.data_dir) == []
        made = certificates.served(settings)
        with connected(settings.broker_address("operator")) as inside:
            for words in (["tls", "init", "--name", "plant.example"], ["tls", "renew"]):
                assert "running broker serves it" in plant.scaup(*words).stdout
            assert inside.retained("$SYS/broker/version")
        renewed = certificates.served(settings)
        assert made is not None
        assert renewed is not None
        assert set(renewed.names) >= {*made.names, "plant.example"}
        served = [each.verdict for each in security.check(settings) if each.check == f"TLS on port {settings.mqtt_tls_port}"]
        assert served == [Verdict.OK]
    finally:
        plant.make("down")
