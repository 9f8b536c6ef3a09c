"""Driver of the BaselineResolver: the cache key follows what would be resolved."""

from __future__ import annotations

from tfx.dsl.components.base import base_driver
from tfx.orchestration import metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2

from components.baseline_resolver.executor import data_fingerprint, effective_span
from components.baseline_resolver.resolve import candidates
from components.bundle.mirror import mirrored


class Driver(base_driver.BaseDriver, portable_base_driver.BaseDriver):
    """Adds `candidates`, the manifests that may become the baseline, to the cache key."""

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, mlmd_connection)
        portable_base_driver.BaseDriver.__init__(self, mlmd_connection)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See base class."""
        properties = execution_info.exec_properties
        with mirrored(properties["serving_dir"], properties["name"]) as serving_dir:
            found = candidates(
                serving_dir / properties["name"],
                properties["training_digest"],
                effective_span(properties["span"], execution_info.input_dict),
                data_fingerprint(execution_info.input_dict),
            )
        newest = found[0].manifest.manifest_digest if found else "none"
        result = driver_output_pb2.DriverOutput()
        result.exec_properties["candidates"].string_value = newest
        return result
