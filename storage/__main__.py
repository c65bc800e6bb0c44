"""Start the recorder."""

import asyncio

from broker.errors import CannotStart, TakenOver
from broker.mqtt.options import Address
from broker.runtime.runtime import run
from broker.runtime.settings import Settings, positive_int
from storage.database.opening import hold_lock
from storage.declaration import DECLARATION, MEMORY
from storage.errors import StorageError
from storage.ingest.single_instance import other_recorder
from storage.query.limits import limit_address_space
from storage.recorder import Recorder


def build(settings: Settings) -> Recorder:
    """Open the database.

    Raises:
        CannotStart: another recorder holds the database, or it cannot be opened.
        TakenOver: another recorder records on the same broker.
    """
    try:
        with hold_lock(settings.database):  # from now on no reader opens the database
            _refuse_second_recorder(settings.broker_address(DECLARATION.name))
        recorder = Recorder(settings)
    except StorageError as error:
        raise CannotStart(str(error)) from error
    limit_address_space(positive_int(MEMORY.name, settings.value(MEMORY), 1_000_000))
    return recorder


def _refuse_second_recorder(address: Address) -> None:
    if (boot := asyncio.run(other_recorder(address))) is not None:
        raise TakenOver(
            f"another recorder (boot {boot}) already records on {address.host}:{address.port}: stop it first (`make down` "
            "in its folder), or use another broker (SCAUP_MQTT_PORT)"
        )


def main() -> None:
    """Record until SIGTERM; exit 1 if another recorder holds the database."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
