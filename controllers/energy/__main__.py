"""Start the energy normalizer: `python -m controllers.energy`."""

from secrets import token_bytes

from broker.runtime.runtime import run
from controllers.energy.component import EnergyNormalizer
from controllers.energy.declaration import DECLARATION


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, lambda settings: EnergyNormalizer(settings.time_scale, token_bytes(8)))


if __name__ == "__main__":
    main()
