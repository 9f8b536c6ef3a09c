"""The typed configuration of a run, its Kubeflow section and the YAML files it is read from."""

from pipeline.config.run import (
    BeamConfig,
    RefreshConfig,
    RunConfig,
    load_config,
    load_tree,
    merge_trees,
    model_config,
    validate_tree,
)

__all__ = [
    "BeamConfig",
    "RefreshConfig",
    "RunConfig",
    "load_config",
    "load_tree",
    "merge_trees",
    "model_config",
    "validate_tree",
]
