"""Catalogues that come with the service, as package data: `default.toml` is field service."""
