"""OCPP 1.6J and 2.0.1: chargers that speak the Open Charge Point Protocol, on the path `/ocpp/{id}`.

`frames` reads and writes the frames of both versions; `v16` and `v201` read a charger's calls (`reports`) and make the answers;
`versions` chooses between them. `transactions` decides what becomes of the charger's transactions; `numbers` numbers them. All
of these are pure, except for the file of the last number. `conversation` sends, waits and answers; `stations` joins it to the
sockets and the bus. Why it is built this way: docs/decisions/0016-ocpp.md.
"""
