"""Builds the index of a new catalogue, or keeps the published one where nothing changed."""
