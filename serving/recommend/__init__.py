"""Asks a published bundle for one user's items, each with its reason."""
