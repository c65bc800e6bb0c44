"""Start the recorder."""

from broker.errors import CannotStart
from broker.runtime import run
from broker.settings import Settings
from storage.declaration import DECLARATION
from storage.errors import StorageError
from storage.memory import limit_address_space
from storage.recorder import Recorder


def build(settings: Settings) -> Recorder:
    """Open the database.

    Raises:
        CannotStart: another recorder holds it, or it cannot be opened.
    """
    try:
        recorder = Recorder(settings)
    except StorageError as error:
        raise CannotStart(str(error)) from error
    limit_address_space()
    return recorder


def main() -> None:
    """Record until SIGTERM; exit 1 if another recorder holds the database."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
