"""Signing in at vendors: what is put on a request, and how a token is come by."""
