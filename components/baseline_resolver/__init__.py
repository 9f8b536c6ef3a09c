"""Finds the published bundle that a run starts from and is compared with."""
