"""Start the charging controller: `python -m controllers.charging`."""

from collections.abc import Callable
from datetime import datetime, timedelta

from broker.clock import PlantClock
from broker.runtime import run
from broker.settings import Settings
from controllers.charging.component import ChargingController
from controllers.charging.declaration import DECLARATION, PAIRS_FILE
from controllers.charging.files import PairsFile


def build(settings: Settings) -> ChargingController:
    """Read the pairs. People unplug batteries in wall time, so patience does not shrink with the time scale.

    Raises:
        InvalidPairs: they cannot be used; the text names variable, file and entry.
    """
    file = PairsFile(settings.value(PAIRS_FILE))
    return ChargingController(file.read(), file.poll, calendar(settings), settings.time_scale)


def calendar(settings: Settings) -> Callable[[float], datetime]:
    """Return what gives the instant of plant time for a component's `now_s`, which begins now like the runtime's."""
    clock = PlantClock(settings.time_scale, settings.plant_epoch)
    start_at = clock.at() - timedelta(seconds=clock.now_s())
    return lambda now_s: start_at + timedelta(seconds=now_s)


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
