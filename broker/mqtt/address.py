"""Where the broker is and who connects."""

from dataclasses import dataclass

from broker.runtime.credentials import read_password
from broker.runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the broker is and who connects. `ca` is a PEM file: with it, the connection is TLS."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    ca: str | None = None


def broker_address(settings: Settings, account: str) -> Address:
    """Return where the broker is, with the given login or else the generated one of `account`, if it is there."""
    username, password = settings.mqtt_username, settings.mqtt_password
    if username is None and (generated := read_password(settings.data_dir, account)) is not None:
        username, password = account, generated
    return Address(host=settings.mqtt_host, port=settings.mqtt_port, username=username, password=password, ca=settings.mqtt_ca)
