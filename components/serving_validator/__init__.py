"""Checks that the SavedModels of an index serve, in a fresh process that lacks this project."""
