"""Start the Home Assistant adapter: `python -m adapters.home_assistant`."""

from secrets import token_bytes

from adapters.home_assistant.component import HomeAssistant
from adapters.home_assistant.declaration import DECLARATION, HOME_ASSISTANT
from broker.runtime.runtime import run
from broker.runtime.settings import Settings, yes_or_no


def build(settings: Settings) -> HomeAssistant:
    """Read the setting.

    Raises:
        InvalidSetting: it is neither `yes` nor `no`.
    """
    announces = yes_or_no(HOME_ASSISTANT.name, settings.value(HOME_ASSISTANT) or "no")
    return HomeAssistant(time_scale=settings.time_scale, start=token_bytes(8), announces=announces)


def main() -> None:
    """Run until SIGTERM."""
    run(DECLARATION, build)


if __name__ == "__main__":
    main()
