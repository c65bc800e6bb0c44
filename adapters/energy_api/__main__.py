"""Start the energy API: `python -m adapters.energy_api`."""

from adapters.energy_api.component import EnergyApi
from adapters.energy_api.declaration import DECLARATION, PORT
from adapters.listening import read_listening
from broker.runtime.runtime import run
from broker.runtime.settings import Settings


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _api)


def _api(settings: Settings) -> EnergyApi:
    return EnergyApi(read_listening(settings, PORT))


if __name__ == "__main__":
    main()
