"""Start the web component: `python -m adapters.web`."""

from adapters.listening import read_listening
from adapters.web.component import Web
from adapters.web.declaration import CLIENT, DECLARATION, PORT
from adapters.web.sign_in import SignIns
from adapters.web.tap import Tap
from broker.runtime.clock import PlantClock
from broker.runtime.runtime import run
from broker.runtime.settings import Settings


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, _web)


def _web(settings: Settings) -> Web:
    address = settings.broker_address(CLIENT)
    tap = Tap(address, f"{CLIENT}-live")
    sign_ins = SignIns(address, PlantClock(settings.time_scale, settings.plant_epoch))
    return Web(read_listening(settings, PORT), tap, sign_ins, settings)


if __name__ == "__main__":
    main()
