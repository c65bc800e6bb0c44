"""Start the energy API: `python -m adapters.energy_api`."""

from adapters.energy_api.component import EnergyApi
from adapters.energy_api.declaration import DECLARATION, PORT
from adapters.listening import Listening
from broker.launch import mosquitto
from broker.runtime.runtime import run
from broker.runtime.settings import Settings, port_number
from broker.runtime.web_access import WebAccess


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _api)


def _api(settings: Settings) -> EnergyApi:
    addresses = mosquitto.addresses(settings.bind, mosquitto.has_ipv6())
    port = port_number(PORT.name, settings.value(PORT))
    return EnergyApi(Listening(addresses, port, PORT.name, access=WebAccess.load(settings, addresses)))


if __name__ == "__main__":
    main()
