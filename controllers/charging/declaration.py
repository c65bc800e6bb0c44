"""Declaration of the charging controller."""

from broker.contract.charging.topics import ANSWER, CHARGE_POINT, CHARGER_LINK, PAIRS, REQUEST, SESSION, SOC, STATE, STATUS
from broker.contract.components import topics as components
from broker.contract.components.topics import FORGET
from broker.runtime.declaration import Declaration, Variable

PAIRS_FILE = Variable(
    name="SCAUP_CHARGER_PAIRS",
    default="",
    meaning="JSON file, charger → widget, reloaded when it changes; empty: charger-pairs.json in the data directory, or ours",
    container="${SCAUP_CHARGER_PAIRS:+/pairs.json}",
    shipped="controllers/charging/pairs.json",
    mount="/pairs.json",
)

DECLARATION = Declaration(
    name="charging",
    summary="publishes widget statuses and charging sessions",
    subscribes=(SOC, STATE, CHARGER_LINK, CHARGE_POINT, REQUEST, FORGET),
    subscribes_also=(components.STATE.template.filter,),
    publishes=(STATUS, STATE, SESSION, PAIRS, ANSWER),
    publishes_also=(CHARGER_LINK.template.filter, CHARGE_POINT.template.filter),  # removes those of a forgotten charger
    session_s=600,
    wall_tick_s=0.5,
    max_queued=100_000,
    variables=(PAIRS_FILE,),
)
