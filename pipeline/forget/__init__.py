"""Removes one user from what runs, pushes and candidates have left on the disk."""
