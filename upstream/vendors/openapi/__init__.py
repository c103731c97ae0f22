"""Any system from its OpenAPI document: what it offers, and a manifest of what is chosen of it."""
