"""Start the component for declared devices: `python -m adapters.devices`."""

from adapters.devices.component import Devices
from adapters.devices.declaration import DECLARATION
from adapters.devices.folder import folder_of
from broker.runtime.runtime import run


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, lambda settings: Devices(folder_of(settings), settings))


if __name__ == "__main__":
    main()
