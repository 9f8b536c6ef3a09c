"""The local runner: TFX's LocalDagRunner, its console, metadata and checks before a run."""
