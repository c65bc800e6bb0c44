-- Pumps: the highest flow of each.

CREATE VIEW pump_peak AS
SELECT pump, max(litres_per_min) AS litres_per_min FROM pump_flow GROUP BY pump;
