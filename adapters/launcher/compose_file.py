"""Makes `docker-compose.yml` from the declarations: `python -m adapters.launcher.compose_file > docker-compose.yml`."""

import sys
from collections.abc import Iterable

from adapters.launcher.orphans import BROKER, RECORDER
from adapters.launcher.registry import components, package_of
from broker.runtime.declaration import Declaration, Variable
from broker.runtime.settings import VARIABLES

_IN_CONTAINERS = {
    "SCAUP_MQTT_HOST": BROKER,
    "SCAUP_MQTT_PORT": '"1883"',
    "SCAUP_DATA_DIR": "/data",
    "SCAUP_TIME_SCALE": "${SCAUP_TIME_SCALE:-60}",
    "SCAUP_SIM_HISTORY_DAYS": "${SCAUP_SIM_HISTORY_DAYS:-7}",
}
_OUTSIDE = (
    *("SCAUP_MQTT_USERNAME", "SCAUP_MQTT_PASSWORD", "SCAUP_MQTT_CA"),
    *("SCAUP_MQTT_TLS_PORT", "SCAUP_MQTT_CERTIFICATE_PORT"),
)
"""Settings that mean nothing inside a container: there each component has its own account, and the broker is a neighbour."""

_HEAD = """\
# The container runtime. `make up RUNTIME=docker` uses it; so does `docker compose up` by hand.
# Made from the components' declarations by `python -m adapters.launcher.compose_file > docker-compose.yml`; a test fails
# when it is out of date.
name: scaup

x-environment: &environment
  # In here the broker is a neighbour, and the data directory is the volume.
"""
_PASSED_ON = """\
  # Without a value: taken from the shell or from .env, left out where it is in neither.
"""
_DECLARED = """\
  # Other components are neighbours too, and files of the host are mounted. An editor that replaces such a file on the host is
  # not noticed in here: write into it, or restart the service.
"""
_COMMON = """\

x-logging: &logging
  driver: json-file
  options: { max-size: 5m, max-file: "4" }

x-image: &image
  build: .
  image: scaup:local
  init: true
  read_only: true
  tmpfs: [/tmp]
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  environment: *environment
  volumes: ["data:/data"]
  logging: *logging

x-component: &component
  <<: *image
  # Compose cannot distinguish exit codes, as the native runtime does: a component whose place was taken by another of
  # its name on this broker (exit code 75) starts again, and two systems on one broker displace each other until one is stopped.
  restart: unless-stopped
  stop_grace_period: 35s
  # Only the order: `down` stops components, then the recorder, then the broker. Components wait for an unreachable broker.
  depends_on: [broker, recorder]

x-health: &health
  interval: 15s
  timeout: 10s
  start_period: 30s
  retries: 3

services:
  # Writes accounts, access rules and the broker's configuration to the volume, and ends.
  setup:
    <<: *image
    command: [python, -m, adapters.launcher, prepare]
    restart: "no"

  broker:
    image: eclipse-mosquitto:2
    user: "1883:1883"
    init: true
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    working_dir: /data
    # The component for declared devices, in another container, asks for a reload with a file (broker/launch/declared.py).
    command:
      - sh
      - -c
      - |
        rm -f broker/reload
        mosquitto -c broker/mosquitto.conf &
        pid=$$!
        trap "kill -TERM $$pid" TERM INT
        trap "kill -HUP $$pid" HUP
        while kill -0 $$pid 2>/dev/null; do
          if rm broker/reload 2>/dev/null; then kill -HUP $$pid; fi
          sleep 0.5 &
          wait $$!
        done
        wait $$pid
    restart: unless-stopped
    stop_grace_period: 30s
    logging: *logging
    depends_on:
      setup: { condition: service_completed_successfully }
    ports:
      - "${SCAUP_MQTT_ADDRESS:-127.0.0.1}:${SCAUP_MQTT_PORT:-1883}:1883"
    # `make up` publishes more: 8883 and 8884, MQTT with TLS, where that is set up; 9001 and 9002, MQTT over websockets, where
    # SCAUP_MQTT_WS_PORT is set.
    # nocopy: else this image's empty folder, and so its owner, would be copied to the new volume.
    volumes:
      - { type: volume, source: data, target: /data, volume: { nocopy: true } }
    # The image declares these as volumes: nothing is written there, and no anonymous volume stays behind.
    tmpfs: [/mosquitto/data, /mosquitto/log]
    healthcheck:
      <<: *health
      test:
        - CMD-SHELL
        # The login is in broker/mosquitto_sub: a password on the command line would show in the host's list of processes.
        - XDG_CONFIG_HOME=broker mosquitto_sub -t '$$SYS/broker/uptime' -C 1 -W 5
"""
_LISTENS = """\
    # In a container it listens for its neighbours on every address, and with TLS and logins on a second port, which only
    # `make up` publishes, on the addresses of SCAUP_BIND.
    environment: { <<: *environment, SCAUP_CONTAINER: "yes" }
"""
_TAIL = """
volumes:
  data:
"""


def compose_file() -> str:
    """Return the text of `docker-compose.yml`."""
    return _HEAD + _environment() + _COMMON + "".join(map(_service, components().values())) + _TAIL


def _environment() -> str:
    own = [variable for each in components().values() for variable in each.variables]
    plain = [each for each in VARIABLES if each.name not in (*_IN_CONTAINERS, *_OUTSIDE)]
    passed_on = [*plain, *(each for each in own if not each.container)]
    fixed = "".join(f"  {name}: {value}\n" for name, value in _IN_CONTAINERS.items())
    declared = "".join(f"  {each.name}: {each.container}\n" for each in own if each.container)
    return fixed + _PASSED_ON + "".join(f"  {each.name}:\n" for each in passed_on) + _DECLARED + declared


def _service(declaration: Declaration) -> str:
    name = declaration.name
    lines = [f"\n  {name}:\n    <<: *component\n    command: [python, -m, {package_of(name)}]\n"]
    if declaration.starts_where:  # by hand: `docker compose --profile NAME up`
        lines.append(f"    profiles: [{name}]\n")
    if name == RECORDER:
        lines.append(f"    depends_on: [{BROKER}]\n")
    if declaration.listens:
        lines.append(f"    hostname: {name}\n{_LISTENS}")
    if declaration.listens and declaration.publishes_ports:
        lines += ["    ports:\n", *map(_port, declaration.listens)]
    lines += _volumes(declaration.variables)
    lines.append(f"    healthcheck: {{ <<: *health, test: [CMD, scaup, status, {name}] }}\n")
    return "".join(lines)


def _port(variable: Variable) -> str:
    port = f"${{{variable.name}:-{variable.default}}}"
    return f'      - "127.0.0.1:{port}:{port}"\n'


def _volumes(variables: Iterable[Variable]) -> list[str]:
    mounts = [_mount(each) for each in variables if each.shipped]
    return ["    volumes:\n", "      - data:/data\n", *mounts] if mounts else []


def _mount(variable: Variable) -> str:
    source = f"${{{variable.name}:-./{variable.shipped}}}"
    # What is not part of the repository is a folder, empty at first.
    made = ", bind: { create_host_path: true }" if variable.shipped.startswith("var/") else ""
    return f'      - {{ type: bind, source: "{source}", target: {variable.mount}, read_only: true{made} }}\n'


if __name__ == "__main__":
    sys.stdout.write(compose_file())
