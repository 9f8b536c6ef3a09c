"""Judges the paper's claims by the published results of the experiments."""
