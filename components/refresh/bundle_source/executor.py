"""TFX executor of the BundleSource."""

from __future__ import annotations

from pathlib import Path

from tfx.dsl.components.base import base_executor

from components.base import Artifacts, Properties, mark, only
from components.bundle.mirror import mirrored
from components.refresh.bundle_source.source import SourcePaths, take_bundle


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `take_bundle`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Takes the bundle apart."""
        self._log_startup(input_dict, output_dict, exec_properties)
        out = {key: only(output_dict, key) for key in output_dict}
        with mirrored(exec_properties["serving_dir"], exec_properties["name"]) as serving_dir:
            manifest = take_bundle(
                serving_dir / exec_properties["name"] / str(exec_properties["version"]),
                exec_properties["manifest_digest"],
                SourcePaths(**{key: Path(artifact.uri) for key, artifact in out.items()}),
            )
        mark(out["blessing"], blessed=True)
        for key in ("bundle", "model"):
            mark(out[key], found=True, version=manifest.version)
