"""Candidates for every user of the tables, through the SavedModel that serves."""
