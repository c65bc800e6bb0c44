"""Settings: environment variables with the prefix `SCAUP_`, completed from the file `.env` in the repository."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from broker.contract.outbox import LAKE_FILE
from broker.errors import InvalidSetting
from broker.log import JSON, TEXT
from broker.log import VARIABLE as LOG_STYLE
from broker.mqtt.options import Address
from broker.runtime.declaration import Variable

ROOT = Path(__file__).resolve().parents[2]
"""The folder of this repository (in a container: of the application)."""

LOOPBACK = ("127.0.0.1", "::1")
_OWN_PORTS = {"http": 80, "https": 443}

CREDENTIALS = "credentials"
"""Folder of the data directory with passwords and secret client ids."""

HISTORY_DAYS = Variable(
    name="SCAUP_SIM_HISTORY_DAYS",
    default="0",
    meaning="days of simulated history that go into an empty recording, 0 to 31 (`make up` sets 7)",
)

LAKE = Variable(
    name="SCAUP_LAKE",
    default="",
    meaning="file with this site's access to the lake, from `scaup lake join`; empty: lake.toml in the data directory",
)

VARIABLES = (
    Variable(name="SCAUP_MQTT_HOST", default="127.0.0.1", meaning="host of the broker"),
    Variable(name="SCAUP_MQTT_PORT", default="1883", meaning="port of the broker"),
    Variable(name="SCAUP_MQTT_WS_PORT", default="", meaning="port for MQTT over websockets, with a login only; empty: none"),
    Variable(
        name="SCAUP_MQTT_TLS_PORT", default="8883", meaning="port for MQTT with TLS, with a login only, where TLS is set up"
    ),
    Variable(
        name="SCAUP_MQTT_CERTIFICATE_PORT",
        default="8884",
        meaning="port for MQTT with TLS, for devices with a certificate, where TLS is set up",
    ),
    Variable(name="SCAUP_MQTT_USERNAME", default="", meaning="account; empty: the component's own generated one, if there"),
    Variable(name="SCAUP_MQTT_PASSWORD", default="", meaning="password of that account"),
    Variable(name="SCAUP_MQTT_CA", default="", meaning="PEM file with the authority of the broker's certificate: turns TLS on"),
    Variable(name="SCAUP_DATA_DIR", default="var", meaning="runtime files: database, archive, credentials, logs"),
    Variable(name="SCAUP_TIME_SCALE", default="1", meaning="plant seconds per wall second (`make up` sets 60)"),
    Variable(
        name="SCAUP_PLANT_EPOCH", default="", meaning="wall time at which plant time is the same (`make up` sets it), RFC 3339"
    ),
    HISTORY_DAYS,
    Variable(
        name="SCAUP_BIND",
        default="",
        meaning="address for every listener, with TLS and logins beyond loopback; empty: 127.0.0.1 and ::1",
    ),
    Variable(
        name="SCAUP_TLS_CERT", default="", meaning="PEM file with the listeners' certificate and its chain; empty: a made one"
    ),
    Variable(name="SCAUP_TLS_KEY", default="", meaning="PEM file with the private key of that certificate"),
    Variable(name="SCAUP_PLAINTEXT", default="no", meaning="`yes` allows plain text beyond loopback, `no` demands TLS there"),
    Variable(
        name="SCAUP_CORS_ORIGINS",
        default="",
        meaning="web pages that may use HTTP APIs and websockets, such as https://plant.example; separated by commas",
    ),
    Variable(
        name="SCAUP_HOST_NAMES",
        default="",
        meaning="further names of this machine that HTTP requests may have in `Host`; separated by commas",
    ),
    Variable(name=LOG_STYLE, default=TEXT, meaning="`text`, or `json`: one object a line with event and fields"),
    LAKE,
    Variable(name="SCAUP_COMPONENTS", default="", meaning="comma-separated components for `make up`; empty: all"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that more than one component needs. Made by `Settings.load`; `environment` holds all `SCAUP_` variables."""

    mqtt_host: str
    mqtt_port: int
    mqtt_ws_port: int | None
    mqtt_tls_port: int
    mqtt_certificate_port: int
    mqtt_username: str | None
    mqtt_password: str | None
    mqtt_ca: str | None
    data_dir: Path
    time_scale: float
    plant_epoch: datetime | None
    bind: tuple[str, ...]
    components: tuple[str, ...]
    origins: tuple[str, ...]
    host_names: tuple[str, ...]
    tls_cert: str | None
    tls_key: str | None
    plaintext: bool
    environment: Mapping[str, str]

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from `environment`, by default that of the process completed from `.env`.

        Raises:
            InvalidSetting: a value cannot be used; the text names the variable and what it accepts.
        """
        given = read_environment() if environment is None else environment
        values = {each.name: given.get(each.name, "").strip() or each.default for each in VARIABLES}
        if values[LOG_STYLE] not in (TEXT, JSON):
            raise InvalidSetting(f"{LOG_STYLE} must be {TEXT} or {JSON}, not {values[LOG_STYLE]!r}")
        data_dir = Path(values["SCAUP_DATA_DIR"]).expanduser()
        return cls(
            mqtt_host=values["SCAUP_MQTT_HOST"],
            mqtt_port=port_number("SCAUP_MQTT_PORT", values["SCAUP_MQTT_PORT"]),
            mqtt_ws_port=port_number("SCAUP_MQTT_WS_PORT", ws_port) if (ws_port := values["SCAUP_MQTT_WS_PORT"]) else None,
            mqtt_tls_port=port_number("SCAUP_MQTT_TLS_PORT", values["SCAUP_MQTT_TLS_PORT"]),
            mqtt_certificate_port=port_number("SCAUP_MQTT_CERTIFICATE_PORT", values["SCAUP_MQTT_CERTIFICATE_PORT"]),
            mqtt_username=values["SCAUP_MQTT_USERNAME"] or None,
            mqtt_password=values["SCAUP_MQTT_PASSWORD"] or None,
            mqtt_ca=values["SCAUP_MQTT_CA"] or None,
            data_dir=data_dir if data_dir.is_absolute() else ROOT / data_dir,
            time_scale=_time_scale(values["SCAUP_TIME_SCALE"]),
            plant_epoch=_instant("SCAUP_PLANT_EPOCH", values["SCAUP_PLANT_EPOCH"]),
            bind=tuple(_listed(values["SCAUP_BIND"])) or LOOPBACK,
            components=tuple(_listed(values["SCAUP_COMPONENTS"])),
            origins=tuple(origin(each) for each in _listed(values["SCAUP_CORS_ORIGINS"])),
            host_names=tuple(each.lower() for each in _listed(values["SCAUP_HOST_NAMES"])),
            tls_cert=values["SCAUP_TLS_CERT"] or None,
            tls_key=values["SCAUP_TLS_KEY"] or None,
            plaintext=yes_or_no("SCAUP_PLAINTEXT", values["SCAUP_PLAINTEXT"]),
            environment=given,
        )

    def value(self, variable: Variable) -> str:
        """Return the value of a component's own variable, or its default."""
        return self.environment.get(variable.name, "").strip() or variable.default

    def broker_address(self, account: str) -> Address:
        """Return the broker's address with the login of the settings, or else with the generated one of `account`, if any."""
        username, password = self.mqtt_username, self.mqtt_password
        if username is None and (generated := read_password(self.data_dir, account)) is not None:
            username, password = account, generated
        return Address(host=self.mqtt_host, port=self.mqtt_port, username=username, password=password, ca=self.mqtt_ca)

    @property
    def in_container(self) -> bool:
        """Whether this process runs in a container of `docker-compose.yml`, which alone sets this."""
        return self.environment.get("SCAUP_CONTAINER") == "yes"

    @property
    def database(self) -> Path:
        """The DuckDB file."""
        return self.data_dir / "scaup.duckdb"

    @property
    def lake_file(self) -> Path:
        """The file with the site's access to the lake, which exists where the site is joined."""
        given = self.value(LAKE)
        return ROOT / Path(given).expanduser() if given else self.data_dir / LAKE_FILE


@cache
def release() -> str:
    """Return the version of this release, `0+unknown` in a checkout that was never installed."""
    from importlib import metadata  # takes 15 ms, which every command would wait for

    try:
        return metadata.version("scaup")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def read_environment() -> dict[str, str]:
    """Return every `SCAUP_` variable; the environment wins over `.env`."""
    merged = {**dotenv_values(ROOT / ".env"), **os.environ}
    return {name: value for name, value in merged.items() if name.startswith("SCAUP_") and value is not None}


def read_password(data_dir: Path, account: str) -> str | None:
    """Return the generated password of an account, None if there is none that this user may read."""
    try:
        return (data_dir / CREDENTIALS / account).read_text().strip() or None
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None


def positive_int(name: str, text: str, largest: int) -> int:
    """Read a whole number from 1 to `largest`.

    Raises:
        InvalidSetting: it is something else.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= largest:
        raise InvalidSetting(f"{name} must be a whole number from 1 to {largest}, not {text!r}")
    return number


def port_number(name: str, text: str) -> int:
    """Read a TCP port.

    Raises:
        InvalidSetting: it is something else.
    """
    return positive_int(name, text, 65_535)


def origin(text: str) -> str:
    """Read an origin as browsers send it: scheme, host, and a port that is not the scheme's own.

    Raises:
        InvalidSetting: it is something else, such as `*` or an address with a path.
    """
    try:
        parts = urlsplit(text.lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _OWN_PORTS or not parts.hostname or parts.path not in ("", "/") or "@" in parts.netloc:
        raise InvalidSetting(f"SCAUP_CORS_ORIGINS must list origins such as https://plant.example:8443, not {text!r}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, _OWN_PORTS[parts.scheme]) else f":{port}")


def yes_or_no(name: str, text: str) -> bool:
    """Read a setting that is `yes` or `no`.

    Raises:
        InvalidSetting: it is neither.
    """
    if text.lower() not in ("yes", "no"):
        raise InvalidSetting(f"{name} must be yes or no, not {text!r}")
    return text.lower() == "yes"


def _time_scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0.001 <= scale <= 100_000:
        raise InvalidSetting(f"SCAUP_TIME_SCALE must be a number from 0.001 to 100000, not {text!r}")
    return scale


def _instant(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise InvalidSetting(f"{name} must be an RFC 3339 time with its offset, such as 2026-01-31T08:00:00Z, not {text!r}")
    return instant


def _listed(text: str) -> list[str]:
    return [part for part in (part.strip() for part in text.split(",")) if part]
