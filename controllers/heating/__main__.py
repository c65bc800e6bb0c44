"""Start the heating controller: `python -m controllers.heating`."""

from broker.runtime.runtime import run
from controllers.heating.component import HeatingController
from controllers.heating.declaration import DECLARATION


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, lambda settings: HeatingController(settings.time_scale))


if __name__ == "__main__":
    main()
