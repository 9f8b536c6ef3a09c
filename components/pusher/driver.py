"""Driver of the Pusher: publishing is never answered from the cache.

A cached execution would report a version that somebody may have removed since.
The executor itself recognises content that is already published.
"""

from __future__ import annotations

import uuid

from tfx.dsl.components.base import base_driver
from tfx.orchestration import metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2


class Driver(base_driver.BaseDriver, portable_base_driver.BaseDriver):
    """Adds a fresh `attempt` to the execution properties, which are part of the cache key."""

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, mlmd_connection)
        portable_base_driver.BaseDriver.__init__(self, mlmd_connection)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See base class."""
        result = driver_output_pb2.DriverOutput()
        result.exec_properties["attempt"].string_value = uuid.uuid4().hex
        return result
