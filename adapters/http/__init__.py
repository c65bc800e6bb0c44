"""What the HTTP adapters share: the server, JSON errors, health, OpenAPI, and how a request meets the bus."""
