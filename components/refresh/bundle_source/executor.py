"""TFX executor of the BundleSource."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.bundle.mirror import mirrored
from components.refresh.bundle_source.source import SourcePaths, do


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `source.do`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Takes the bundle apart."""
        self._log_startup(input_dict, output_dict, exec_properties)
        out = {key: artifact_utils.get_single_instance(found) for key, found in output_dict.items()}
        with mirrored(exec_properties["serving_dir"], exec_properties["name"]) as serving_dir:
            manifest = do(
                serving_dir / exec_properties["name"] / str(exec_properties["version"]),
                exec_properties["manifest_digest"],
                SourcePaths(**{key: Path(artifact.uri) for key, artifact in out.items()}),
            )
        out["blessing"].set_int_custom_property("blessed", 1)
        for key in ("bundle", "model"):
            out[key].set_int_custom_property("found", 1)
            out[key].set_int_custom_property("version", manifest.version)
