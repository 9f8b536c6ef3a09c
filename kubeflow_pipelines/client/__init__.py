"""Runs of the compiled pipeline: one day, every day, days of the past; on Kubeflow's own client."""
