"""Where the broker is and who asks."""

from dataclasses import dataclass

from broker.credentials import read_password
from broker.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A broker's address with a login, if there is one. `ca` is a PEM file: with it, the connection is TLS."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    ca: str | None = None

    @property
    def where(self) -> str:
        """Host and port, for people."""
        return f"{self.host}:{self.port}"


def endpoint_of(settings: Settings, account: str = "operator") -> Endpoint:
    """Return the broker with the login of the settings, or else the generated one of `account`, if it is there."""
    username, password = settings.mqtt_username, settings.mqtt_password
    if username is None and (generated := read_password(settings.data_dir, account)) is not None:
        username, password = account, generated
    return Endpoint(host=settings.mqtt_host, port=settings.mqtt_port, username=username, password=password, ca=settings.mqtt_ca)
