"""The report at the end of `make up`: what can be opened, and what to try next."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.launcher.compose import Compose
from adapters.launcher.native import Native
from adapters.launcher.registry import components
from adapters.launcher.runtime import addresses, report
from broker.runtime.settings import Settings


def opened(**given: str) -> Sequence[str]:
    settings = Settings.load(given)
    return [address for address, _ in addresses(settings, list(components().values()))]


def test_every_address_that_listens_is_listed() -> None:
    assert {
        "mqtt://localhost:1883",
        "http://localhost:5000/data?id=1",
        "http://localhost:8000/docs",
        "ws://localhost:3100/chargers/{id}",
        "ws://localhost:3200/widgets/{id}",
    } <= set(opened())


def test_addresses_follow_ports_and_bind() -> None:
    found = opened(SCAUP_MQTT_PORT="1884", SCAUP_CHARGER_PORT="3101", SCAUP_BIND="192.0.2.7")
    assert "mqtt://localhost:1884" in found
    assert "ws://localhost:9001" not in found, "websockets of the broker are off"
    assert "ws://localhost:3101/chargers/{id}" in found
    assert "https://192.0.2.7, wss://192.0.2.7" in found
    plain = opened(SCAUP_BIND="192.0.2.7", SCAUP_PLAINTEXT="yes")
    assert "http://192.0.2.7, ws://192.0.2.7" in plain


def test_websockets_of_the_broker_are_listed_where_on() -> None:
    assert "ws://localhost:9001" in opened(SCAUP_MQTT_WS_PORT="9001")


def test_every_public_port_has_an_address() -> None:
    for each in components().values():
        if each.publishes_ports:
            named = " ".join(address.template for address in each.addresses)
            assert all(f"{{{port.name}}}" in named for port in each.listens), each.name


@pytest.mark.parametrize("runtime", [Native, Compose])
def test_report_fits_eighty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: type[Native] | type[Compose]
) -> None:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Native, "places", lambda self: dict.fromkeys(self.components, "pid 26154"))
    monkeypatch.setattr(Compose, "places", lambda self: dict.fromkeys(self.components, "scaup-x-1"))
    names = tuple(components())
    made = (
        Native(settings=settings, declarations=components(), components=names)
        if runtime is Native
        else Compose(settings=settings, components=names)
    )
    text = report(settings, made, list(components().values()))
    opened, _, tried = text.partition("Try next:")
    assert max(map(len, opened.splitlines())) <= 80
    assert "pid" not in text
    assert "http://localhost:5000/data?id=1" in opened
    assert len([line for line in tried.splitlines() if line.startswith("  ")]) == 3
