"""Start the fastening controller: `python -m controllers.fastening`."""

from secrets import token_hex

from broker.runtime.runtime import run
from broker.runtime.settings import Settings, positive_int
from controllers.fastening.component import FasteningController
from controllers.fastening.declaration import CATALOG_FOLDER, DECLARATION, RESPONSE_TIMEOUT
from controllers.fastening.files import read_catalog


def build(settings: Settings) -> FasteningController:
    """Read the catalog and build the controller. The timeout is in wall time, in which operators and drivers work.

    Raises:
        InvalidCatalog: the catalog cannot be used; the text names every mistake.
        InvalidSetting: the timeout is not a whole number of seconds.
    """
    catalog = read_catalog(settings.value(CATALOG_FOLDER))
    timeout_s = positive_int(RESPONSE_TIMEOUT.name, settings.value(RESPONSE_TIMEOUT), 86_400) * settings.time_scale
    return FasteningController(catalog, timeout_s, lambda: token_hex(6))


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
