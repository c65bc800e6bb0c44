-- Sessions of OCPP chargers: transactions, with their connector and the energy by their register.
ALTER TABLE live.charging_told ADD COLUMN connector BIGINT;
ALTER TABLE live.charging_told ADD COLUMN kwh DOUBLE;
