"""What chargers send, checked at the edge. Pure."""

from adapters.chargers.session import Incoming
from broker.contract.charging import SocEvent
from broker.errors import Rejected
from broker.message import decode

LARGEST_SOC_BYTES = 64 * 1024


def check_soc(message: Incoming) -> None:
    """Check a charger's message: text, JSON, the documented event with a state of charge from 0 to 100.

    Raises:
        Rejected: it is something else; the reason says what.
    """
    if not message.text:
        raise Rejected("a binary frame: a charger sends text")
    if len(message.payload) > LARGEST_SOC_BYTES:
        raise Rejected(f"a frame of {len(message.payload)} bytes: {LARGEST_SOC_BYTES} are accepted")
    decode(message.payload, SocEvent)
