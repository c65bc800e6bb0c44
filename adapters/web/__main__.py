"""Start the web component: `python -m adapters.web`."""

from adapters.listening import read_listening
from adapters.web.component import Web
from adapters.web.declaration import DECLARATION, PORT
from broker.runtime.runtime import run
from broker.runtime.settings import Settings


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _web)


def _web(settings: Settings) -> Web:
    return Web(read_listening(settings, PORT), settings.components)


if __name__ == "__main__":
    main()
