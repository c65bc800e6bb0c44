"""The web component: `/health` and `/metrics` of the whole system, and a small page that links to them."""
