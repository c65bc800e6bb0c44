"""Start the charging controller: `python -m controllers.charging`."""

from broker.runtime.clock import PlantClock
from broker.runtime.runtime import run
from broker.runtime.settings import Settings
from controllers.charging.component import ChargingController
from controllers.charging.declaration import DECLARATION, PAIRS_FILE
from controllers.charging.files import OWN_NAME, PairsFile


def build(settings: Settings) -> ChargingController:
    """Read the pairs and build the controller. Grace periods are in wall time, in which people unplug batteries.

    Raises:
        InvalidPairs: the pairs cannot be used; the text names variable, file and entry.
    """
    file = PairsFile(settings.value(PAIRS_FILE), settings.data_dir / OWN_NAME)
    calendar = PlantClock(settings.time_scale, settings.plant_epoch).instant
    return ChargingController(file.read(), file, calendar, settings.time_scale)


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
