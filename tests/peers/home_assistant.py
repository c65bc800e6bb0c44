"""A real Home Assistant on a running system: prints its entities, and sets the first thermostat to 20.5 °C.

It needs an environment of its own, of 500 MB, and Python 3.11:

    pip install homeassistant==2024.3.3 paho-mqtt==1.6.1 janus==1.0.0 aiohttp_cors==0.7.0 aiohttp-fast-url-dispatcher==0.3.0
    pip install aiohttp-zlib-ng==0.3.1
    SCAUP_HOME_ASSISTANT=yes make up
    python tests/peers/home_assistant.py 127.0.0.1 1883 ACCOUNT PASSWORD
"""
# mypy: ignore-errors

import asyncio
import sys
import tempfile
from pathlib import Path

from homeassistant import bootstrap, config_entries, core, loader
from homeassistant.auth import auth_manager_from_config
from homeassistant.setup import async_setup_component
from homeassistant.util.unit_system import METRIC_SYSTEM

WANTED_C = 20.5
SETTLE_S = 8.0
SHOWN = ("current_temperature", "temperature", "unit_of_measurement", "device_class", "state_class", "hvac_action")
HTTP = {"http": {"server_port": 28123, "server_host": ["127.0.0.1"]}}


async def start(folder: str) -> core.HomeAssistant:
    hass = core.HomeAssistant(folder)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    hass.config.skip_pip, hass.config.units = True, METRIC_SYSTEM
    loader.async_setup(hass)
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth_manager_from_config(hass, [{"type": "homeassistant"}], [])
    for each in ("homeassistant", "http", "climate", "sensor", "binary_sensor"):
        assert await async_setup_component(hass, each, HTTP), each
    return hass


async def main(folder: str, host: str, port: str, account: str, password: str) -> None:
    hass = await start(folder)
    login = {"broker": host, "port": int(port), "username": account, "password": password, "protocol": "5"}
    entry = config_entries.ConfigEntry(
        version=1, minor_version=1, domain="mqtt", title="Scaup", source="user", data={**login, "discovery": True}
    )
    await hass.config_entries.async_add(entry)
    await hass.async_start()
    await asyncio.sleep(SETTLE_S)
    for each in sorted(hass.states.async_all(), key=lambda state: state.entity_id):
        print(each.entity_id, each.state, {name: each.attributes[name] for name in SHOWN if name in each.attributes})
    thermostat = hass.states.async_all("climate")[0].entity_id
    wanted = {"entity_id": thermostat, "temperature": WANTED_C}
    await hass.services.async_call("climate", "set_temperature", wanted, blocking=True)
    await asyncio.sleep(SETTLE_S)
    found = hass.states.get(thermostat).attributes["temperature"]
    print("setpoint", found, "as set" if found == WANTED_C else f"and not {WANTED_C}")
    await hass.async_stop(force=True)


with tempfile.TemporaryDirectory() as made:
    Path(made, "configuration.yaml").write_text("logger:\n")
    asyncio.run(main(made, *sys.argv[1:]))
