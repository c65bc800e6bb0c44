"""Open Protocol (specification R 2.16.0) of torque tools, sans-I/O; the shell is `adapters.torque.open_protocol_gateway`."""
