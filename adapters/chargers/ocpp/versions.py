"""The versions of OCPP that are spoken, by their websocket subprotocol."""

from functools import cache

from adapters.chargers.ocpp.dialect import OCPP16, Dialect


@cache
def dialect(subprotocol: str) -> Dialect:
    """Return the version of OCPP that a subprotocol stands for.

    Its module is imported with the first charger that speaks it: the library `ocpp` takes 0.1 s and 4 MiB, which an adapter
    without such chargers is spared.
    """
    if subprotocol == OCPP16:
        from adapters.chargers.ocpp.v16 import Ocpp16

        return Ocpp16()
    from adapters.chargers.ocpp.v201 import Ocpp201

    return Ocpp201()
