"""Driver of CatalogueGen: puts the contents of the items table into the cache key."""

from __future__ import annotations

from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2

from components.example_gen.window import FINGERPRINT_PROPERTY
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.window import resolve


class Driver(base_driver.BaseDriver, portable_base_driver.BaseDriver):
    """Adds the fingerprint of the items to the execution's properties, before TFX's cache."""

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, mlmd_connection)
        portable_base_driver.BaseDriver.__init__(self, mlmd_connection)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See base class.

        Raises:
          DataError: the items table is missing.
        """
        given = execution_info.exec_properties
        config = CatalogueGenConfig.from_json(given["config_json"])
        found = resolve(config, given).fingerprint
        result = driver_output_pb2.DriverOutput()
        for name, value in {**given, FINGERPRINT_PROPERTY: found}.items():
            if value is not None:
                data_types_utils.set_metadata_value(result.exec_properties[name], value)
        return result
