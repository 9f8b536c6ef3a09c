"""Hands the curated schema of the raw examples to the components that check against it."""
