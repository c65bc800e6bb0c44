"""The recorder's declaration: its topics and settings."""

from broker.contract import device_filters
from broker.contract.storage import topics as storage
from broker.runtime.declaration import Declaration, Variable

MEMORY = Variable(
    name="SCAUP_RECORDER_MEMORY_MB",
    default="1024",
    meaning="memory of the database in MiB, all queries together included",
)
MIN_FREE = Variable(
    name="SCAUP_MIN_FREE_MB",
    default="200",
    meaning="free disk in MiB below which the recorder commits nothing and reports an error",
)
RETENTION = Variable(
    name="SCAUP_RETENTION",
    default="",
    meaning="file with the retention policy; empty: storage/retention/retention.conf, which keeps everything",
)

OUTBOX = Variable(
    name="SCAUP_OUTBOX_MB",
    default="1024",
    meaning="MiB of files that may wait for the lake; what is beyond stays in the database until they are forwarded",
)

DECLARATION = Declaration(
    name="recorder",
    summary="records every message, answers SQL about it",
    reads=("#",),
    publishes_also=device_filters(),  # to remove what devices let the broker retain beyond a limit
    publishes=(storage.STATS, storage.ANSWER, storage.DRIFT, storage.HANDOVER),
    variables=(MEMORY, MIN_FREE, RETENTION, OUTBOX),
)
