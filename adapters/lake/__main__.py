"""Start the forwarder of the lake: `python -m adapters.lake`."""

from typing import TYPE_CHECKING

from adapters.client.errors import ClientError
from adapters.lake import central, files
from adapters.lake.declaration import DECLARATION
from broker.errors import CannotStart
from broker.runtime.runtime import run
from broker.runtime.settings import Settings

if TYPE_CHECKING:
    from adapters.lake.component import LakeForwarder


def build(settings: Settings) -> "LakeForwarder":
    """Read the site's access to the lake.

    Raises:
        CannotStart: the site is not joined, or the packages of the lake are missing.
    """
    try:
        lake = files.read(settings.lake_file)
    except ClientError as error:
        raise CannotStart(f"{error.message}; {error.fix}") from error
    central.enter(install=not settings.in_container)
    from adapters.lake.component import LakeForwarder

    return LakeForwarder(lake, settings.data_dir)


def main() -> None:
    """Run until SIGTERM; exit 75 when another forwarder took over, 4 in a copy of the site's data directory."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
