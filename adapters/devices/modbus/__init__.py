"""Modbus TCP: what declarations name, which registers are read together, and the connections that read them."""
