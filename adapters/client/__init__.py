"""The client library: query the recorder, follow messages and steer, from outside the bus."""
