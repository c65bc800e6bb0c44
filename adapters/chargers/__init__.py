"""Charger adapter: websockets of chargers and widgets on one side, the bus on the other.

`clients` admits clients and checks their payloads; `takeover` decides which of a client's connections counts; `websocket`,
`keepalive` and `limits` are the protocol; `server` has the sockets; `component` joins all of it to the bus.
"""
