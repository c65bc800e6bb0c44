"""Start the energy normalizer: `python -m controllers.energy`."""

from broker.runtime import run
from controllers.energy.component import EnergyNormalizer
from controllers.energy.declaration import DECLARATION


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, lambda settings: EnergyNormalizer(settings.time_scale))


if __name__ == "__main__":
    main()
