"""`docker-compose.yml` is generated from the components' declarations."""

import re

from adapters.launcher.compose_file import compose_file
from adapters.launcher.registry import components, package_of
from broker.runtime.settings import ROOT, VARIABLES

TEXT = (ROOT / "docker-compose.yml").read_text()
_SECTIONS = re.split(r"^(?=\S)", TEXT, flags=re.MULTILINE)


def section(name: str) -> str:
    return next(each for each in _SECTIONS if each.startswith(f"{name}:"))


def services() -> dict[str, str]:
    parts = re.split(r"^  ([a-z-]+):\n", section("services"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_file_is_up_to_date() -> None:
    assert compose_file() == TEXT, "type: python -m adapters.launcher.compose_file > docker-compose.yml"


def test_every_component_and_the_broker_has_a_service() -> None:
    assert set(services()) == {"setup", "broker", *components()}


def test_service_runs_and_checks_its_component() -> None:
    for name in components():
        assert f"command: [python, -m, {package_of(name)}]" in services()[name]
        assert f"test: [CMD, scaup, status, {name}]" in services()[name]


def test_every_setting_reaches_the_containers() -> None:
    own = {variable.name for each in components().values() for variable in each.variables}
    outside = {"SCAUP_MQTT_USERNAME", "SCAUP_MQTT_PASSWORD", "SCAUP_MQTT_CA"}
    outside |= {"SCAUP_MQTT_TLS_PORT", "SCAUP_MQTT_CERTIFICATE_PORT"}
    named = set(re.findall(r"^  (SCAUP_[A-Z_]+):", section("x-environment"), re.MULTILINE))
    assert named == {each.name for each in VARIABLES} - outside | own


def test_published_ports_are_bound_to_loopback_by_default() -> None:
    ports = re.findall(r'^ +- "(.*)"$', section("services"), re.MULTILINE)
    own = [port for each in components().values() if each.publishes_ports for port in each.listens]
    assert len(ports) == 1 + len(own)
    assert ports[0].startswith("${SCAUP_MQTT_ADDRESS:-127.0.0.1}:")
    assert all(each.startswith("127.0.0.1:") for each in ports[1:])


def test_image_is_built_from_the_lock_and_not_run_as_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert "USER 1883:1883" in dockerfile
    assert 'user: "1883:1883"' in services()["broker"]
