"""Replay: recorded messages that are published once more, marked so that they can be distinguished from new ones.

The topic of a replayed message is `replay/` followed by its complete original topic: `replay/heating/room-1/state`, and
`replay//readings/room-1/temperature` for a topic that begins with a slash, so that removing the prefix gives the original.
Its stamp is that of the replay (`source` is `replay`, with its own `boot` and `seq`), which also excludes it from queries:
`WHERE source IS DISTINCT FROM 'replay'`. The stamp of the original is in user properties with other names, and `plant-time`
stays as it was: the instant of the plant that the message describes.
"""

PREFIX = "replay/"
"""Default prefix of the topics of replayed messages."""

SOURCE = "replay"
"""The `source` of every replayed message."""

MARK = "replayed"
"""User property of every replayed message: when the original was received, RFC 3339."""

ORIGINAL_SOURCE, ORIGINAL_BOOT, ORIGINAL_SEQ = "replayed-source", "replayed-boot", "replayed-seq"
"""User properties with the stamp of the original, as far as it had one."""
