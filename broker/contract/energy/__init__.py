"""Energy: consumption data in, interval energy and anomalies out."""
