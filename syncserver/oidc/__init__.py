"""Signing in at a company's own issuer by OpenID Connect: asking it, and believing only what it signed for us."""
