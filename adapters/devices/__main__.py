"""Start the component for declared devices: `python -m adapters.devices`."""

from pathlib import Path

from adapters.devices.component import Devices
from adapters.devices.declaration import DECLARATION, FOLDER
from broker.runtime.runtime import run
from broker.runtime.settings import ROOT, Settings


def folder_of(settings: Settings) -> Path:
    """Return the folder of the declarations."""
    given = settings.value(FOLDER)
    path = Path(given).expanduser() if given else settings.data_dir / "devices"
    return path if path.is_absolute() else ROOT / path


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, lambda settings: Devices(folder_of(settings), settings))


if __name__ == "__main__":
    main()
