"""Start the torque adapter: `python -m adapters.torque`."""

from adapters.torque.component import TorqueAdapter
from adapters.torque.configuration import read_drivers
from adapters.torque.declaration import DECLARATION, DRIVER_URL
from broker.runtime.runtime import run


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, lambda settings: TorqueAdapter(read_drivers(DRIVER_URL.name, settings.value(DRIVER_URL))))


if __name__ == "__main__":
    main()
