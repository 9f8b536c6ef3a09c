"""The short pipeline: a new item table over the published model."""
