"""Replay: recorded messages that are published once more, and how everybody tells them from new ones.

A replayed message lies on `replay/` followed by its original topic, whole: `replay/heating/room-1/state`, and
`replay//readings/room-1/temperature` for a topic that begins with a slash, so that taking the prefix away gives the original
back. Its stamp is that of the replay (`source` is `replay`, with a `boot` and a `seq` of its own), and so it can be told from
what was recorded alone: `WHERE source IS DISTINCT FROM 'replay'`. What the original's stamp said comes under names of its own,
and `plant-time` stays: it tells which instant of the plant the message describes.
"""

PREFIX = "replay/"
"""Begins the topics of replayed messages unless another prefix is asked for."""

SOURCE = "replay"
"""The `source` of every replayed message."""

MARK = "replayed"
"""User property of every replayed message: when the original was received, RFC 3339."""

ORIGINAL_SOURCE, ORIGINAL_BOOT, ORIGINAL_SEQ = "replayed-source", "replayed-boot", "replayed-seq"
"""User properties with the stamp of the original, each where it had one."""
