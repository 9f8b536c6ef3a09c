"""Driver of the Pusher: publishing is never answered from the cache.

A cached execution would report a version that somebody may have removed since.
The executor itself recognises content that is already published.
"""

from __future__ import annotations

import uuid

from tfx.orchestration import metadata
from tfx.orchestration.portable import base_driver, data_types
from tfx.proto.orchestration import driver_output_pb2


class Driver(base_driver.BaseDriver):
    """Adds a fresh `attempt` to the execution properties, part of the cache key."""

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        super().__init__(mlmd_connection)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See base class."""
        result = driver_output_pb2.DriverOutput()
        result.exec_properties["attempt"].string_value = uuid.uuid4().hex
        return result
