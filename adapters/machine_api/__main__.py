"""Start the machine API: `python -m adapters.machine_api`."""

from adapters.listening import Listening
from adapters.machine_api.component import MachineApi
from adapters.machine_api.declaration import DECLARATION, PORT
from broker.launch import mosquitto
from broker.runtime.runtime import run
from broker.runtime.settings import Settings, port_number
from broker.runtime.web_access import WebAccess


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _api)


def _api(settings: Settings) -> MachineApi:
    addresses = mosquitto.addresses(settings.bind, mosquitto.has_ipv6())
    port = port_number(PORT.name, settings.value(PORT))
    return MachineApi(Listening(addresses, port, PORT.name, access=WebAccess.load(settings, addresses)), settings.time_scale)


if __name__ == "__main__":
    main()
