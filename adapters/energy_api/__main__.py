"""Start the energy API: `python -m adapters.energy_api`."""

from adapters.energy_api.component import EnergyApi
from adapters.energy_api.declaration import DECLARATION, PORT
from adapters.listening import Listening
from broker.launch import mosquitto
from broker.runtime.runtime import run
from broker.runtime.settings import Settings, port_number


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _api)


def _api(settings: Settings) -> EnergyApi:
    addresses = mosquitto.addresses(settings.bind, mosquitto.has_ipv6())
    return EnergyApi(Listening(addresses, port_number(PORT.name, settings.value(PORT)), PORT.name))


if __name__ == "__main__":
    main()
