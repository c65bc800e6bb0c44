"""MQTT 5 on the wire: packets, topics and one connection that stays up."""
