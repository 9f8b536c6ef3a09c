"""Driver of RetrievalExampleGen: puts the contents of the window into the cache key."""

from __future__ import annotations

from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2

from components.config import ExampleGenConfig
from components.example_gen.window import FINGERPRINT_PROPERTY, SPAN_PROPERTY, resolve


class Driver(base_driver.BaseDriver, portable_base_driver.BaseDriver):
    """Resolves the window before TFX looks into its cache.

    What the driver returns becomes part of the execution's properties and thereby
    of the cache key: the same rows delivered again, under other names or times, are
    answered from the cache; a late file inside the window is not.
    """

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, mlmd_connection)
        portable_base_driver.BaseDriver.__init__(self, mlmd_connection)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See base class.

        Raises:
          DataError: a table or a span of the window is missing.
        """
        given = execution_info.exec_properties
        config = ExampleGenConfig.from_json(given["config_json"])
        window = resolve(config, given)
        result = driver_output_pb2.DriverOutput()
        resolved = {FINGERPRINT_PROPERTY: window.fingerprint, SPAN_PROPERTY: window.span}
        for name, value in {**given, **resolved}.items():
            if value is not None:
                data_types_utils.set_metadata_value(result.exec_properties[name], value)
        return result
