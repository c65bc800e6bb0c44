"""Declaration of the forwarder: it talks to the outbox and the lake, and on the bus only about itself."""

from broker.contract.outbox import LAKE_FILE
from broker.runtime.declaration import Declaration
from broker.runtime.settings import LAKE

DECLARATION = Declaration(
    name="lake-forwarder",
    summary="forwards what is recorded to the lake, exactly once",
    starts_where=LAKE,
    starts_with=LAKE_FILE,
)
