"""Where chargers and widgets connect to."""

from dataclasses import dataclass
from urllib.parse import quote

from broker.runtime.settings import Settings, port_number
from sim.chargers.declaration import HOST


@dataclass(frozen=True, slots=True)
class Role:
    """What a client is: `name` is that of its folder in URLs too, in the plural."""

    name: str
    port_variable: str
    """The charger adapter declares it."""
    usual_port: str


CHARGER = Role("charger", "SCAUP_CHARGER_PORT", "3100")
WIDGET = Role("widget", "SCAUP_WIDGET_PORT", "3200")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the clients of one role connect to."""

    role: Role
    host: str
    port: int

    @classmethod
    def of(cls, settings: Settings, role: Role, host: str | None = None, port: int | None = None) -> "Endpoint":
        """Return the endpoint of the settings; `host` and `port` take the place of theirs.

        Raises:
            InvalidSetting: the port cannot be used.
        """
        return cls(role, host or settings.value(HOST), port or _port(settings, role))

    def url(self, client: str) -> str:
        """Return where one client connects to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ws://{host}:{self.port}/{self.role.name}s/{quote(client, safe='')}"


def _port(settings: Settings, role: Role) -> int:
    text = settings.environment.get(role.port_variable, "").strip() or role.usual_port
    return port_number(role.port_variable, text)
