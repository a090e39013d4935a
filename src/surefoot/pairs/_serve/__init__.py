"""The search page and its API, on loopback."""
