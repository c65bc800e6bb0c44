"""Torque adapter: torque drivers on one side, websockets verbatim or Open Protocol, and the bus on the other."""
