"""Parts that the HTTP adapters share: the server, JSON errors, health, OpenAPI, and a watch on the broker."""
