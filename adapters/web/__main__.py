"""Start the web component: `python -m adapters.web`."""

from adapters.listening import Listening
from adapters.web.component import Web
from adapters.web.declaration import DECLARATION, PORT
from broker.launch import mosquitto
from broker.runtime.runtime import run
from broker.runtime.settings import Settings, port_number
from broker.runtime.web_access import WebAccess


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _web)


def _web(settings: Settings) -> Web:
    addresses = mosquitto.addresses(settings.bind, mosquitto.has_ipv6())
    port = port_number(PORT.name, settings.value(PORT))
    return Web(Listening(addresses, port, PORT.name, access=WebAccess.load(settings, addresses)), settings.components)


if __name__ == "__main__":
    main()
