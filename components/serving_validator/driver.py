"""Driver of the ServingValidator: only a validation that passed is answered from the cache.

A refusal may come from the machine (a busy one answers late), so that the same run again
must look again.
"""

from __future__ import annotations

from tfx.dsl.components.base import base_driver
from tfx.orchestration import metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2

from components.artifacts import Validation


class Driver(base_driver.BaseDriver, portable_base_driver.BaseDriver):
    """Adds `refusals`, how many validations failed so far, to the cache key."""

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, mlmd_connection)
        portable_base_driver.BaseDriver.__init__(self, mlmd_connection)
        self._connection = mlmd_connection

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See base class."""
        with self._connection as handle:
            known = handle.store.get_artifacts_by_type(Validation.TYPE_NAME)
        refusals = sum(
            "validated" in artifact.custom_properties
            and artifact.custom_properties["validated"].int_value == 0
            for artifact in known
        )
        result = driver_output_pb2.DriverOutput()
        result.exec_properties["refusals"].int_value = refusals
        return result
