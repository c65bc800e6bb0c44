"""What is averaged, read from the settings. Pure."""

import re

from broker.errors import InvalidSetting
from controllers.moving_average.reading import GIVEN_NAMES, Field

_TAKEN = frozenset({"status", "left_out"})
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_fields(name: str, text: str) -> tuple[Field, ...]:
    """Read a list such as `temperature,fan_speed,pressure=p`.

    Raises:
        InvalidSetting: it is empty, names a key twice or one that cannot be used; the text begins with the variable's `name`.
    """
    fields = tuple(_field(name, part.strip()) for part in text.split(",") if part.strip())
    keys = [field.key for field in fields]
    if not fields or len(set(keys)) < len(keys):
        raise InvalidSetting(f"{name} must name one field or more, each once, such as temperature,fan_speed, not {text!r}")
    return fields


def _field(name: str, text: str) -> Field:
    field, given, key = (part.strip() for part in text.partition("="))
    key = key if given else GIVEN_NAMES.get(field, f"average_{field}")
    if not field or not _KEY.fullmatch(key) or key in _TAKEN:
        raise InvalidSetting(f"{name}: {text!r} is not FIELD or FIELD=KEY, with letters, digits and _ in KEY")
    return Field(field, key)
