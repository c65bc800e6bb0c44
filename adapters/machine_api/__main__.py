"""Start the machine API: `python -m adapters.machine_api`."""

from adapters.listening import read_listening
from adapters.machine_api.component import MachineApi
from adapters.machine_api.declaration import DECLARATION, PORT
from broker.runtime.runtime import run
from broker.runtime.settings import Settings


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _api)


def _api(settings: Settings) -> MachineApi:
    return MachineApi(read_listening(settings, PORT), settings.time_scale)


if __name__ == "__main__":
    main()
