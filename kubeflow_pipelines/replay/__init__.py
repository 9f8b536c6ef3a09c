"""Runs a compiled pipeline on this machine, task by task, as Kubeflow's launcher does.

A tool for tests and developers: the commands, the arguments and the artifacts are those of
the compiled file; only the cluster is missing.
"""
