"""Turns the items table alone into the examples that a new index is built from."""
