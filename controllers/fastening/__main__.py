"""Start the fastening controller: `python -m controllers.fastening`."""

from secrets import token_hex

from broker.runtime.runtime import run
from broker.runtime.settings import Settings, positive_int
from controllers.fastening.component import FasteningController
from controllers.fastening.declaration import CATALOG_FOLDER, DECLARATION, PATIENCE
from controllers.fastening.files import read_catalog


def build(settings: Settings) -> FasteningController:
    """Read the catalog. Operators and drivers live in wall time, so patience does not shrink with the time scale.

    Raises:
        InvalidCatalog: it cannot be used; the text names every mistake.
        InvalidSetting: the timeout is no whole number of seconds.
    """
    catalog = read_catalog(settings.value(CATALOG_FOLDER))
    patience_s = positive_int(PATIENCE.name, settings.value(PATIENCE), 86_400) * settings.time_scale
    return FasteningController(catalog, patience_s, lambda: token_hex(6))


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
