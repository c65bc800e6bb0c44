"""The client library: ask the recorder, follow messages and steer, from outside the bus."""
