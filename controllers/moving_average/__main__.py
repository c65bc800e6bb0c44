"""Start the moving average: `python -m controllers.moving_average`."""

from secrets import token_bytes

from broker.runtime.runtime import run
from broker.runtime.settings import Settings, positive_int
from controllers.moving_average.component import MovingAverage
from controllers.moving_average.declaration import DECLARATION, FIELDS, WINDOW
from controllers.moving_average.reading import read_fields
from controllers.moving_average.window import LONGEST_WINDOW


def build(settings: Settings) -> MovingAverage:
    """Read the settings.

    Raises:
        InvalidSetting: one of them cannot be used.
    """
    length = positive_int(WINDOW.name, settings.value(WINDOW), LONGEST_WINDOW)
    fields = read_fields(FIELDS.name, settings.value(FIELDS))
    return MovingAverage(length, fields, time_scale=settings.time_scale, start=token_bytes(8))


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
