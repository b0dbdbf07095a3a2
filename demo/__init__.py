"""The demo: simulated providers, two small services with real traffic, and a migration that goes wrong, then right."""
