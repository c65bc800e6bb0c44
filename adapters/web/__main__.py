"""Start the web component: `python -m adapters.web`."""

from adapters.listening import read_listening
from adapters.web.component import Web
from adapters.web.declaration import CLIENT, DECLARATION, PORT
from adapters.web.tap import Tap
from broker.runtime.runtime import run
from broker.runtime.settings import Settings


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _web)


def _web(settings: Settings) -> Web:
    tap = Tap(settings.broker_address(CLIENT), f"{CLIENT}-live")
    return Web(read_listening(settings, PORT), tap, settings)


if __name__ == "__main__":
    main()
