"""The payloads that an adapter sends, made of the classes of the library `ocpp`, which know the fields of each version.

Its validation is not used for what chargers send: it refuses messages of real chargers whole, for one field. Tests check with
its schemas what is sent.
"""

from typing import Any

from ocpp.charge_point import remove_nones, serialize_as_dict, snake_to_camel_case


def wire(payload: Any) -> dict[str, Any]:
    """Return the JSON object of a payload of the library."""
    found: dict[str, Any] = remove_nones(snake_to_camel_case(serialize_as_dict(payload)))
    return found
