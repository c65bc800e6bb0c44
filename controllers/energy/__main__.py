"""Start the energy normalizer: `python -m controllers.energy`."""

from secrets import token_hex

from broker.runtime.runtime import run
from controllers.energy.component import EnergyNormalizer
from controllers.energy.declaration import DECLARATION


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, lambda settings: EnergyNormalizer(settings.time_scale, token_hex(6)))


if __name__ == "__main__":
    main()
