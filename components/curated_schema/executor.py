"""TFX executor of CuratedSchema."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.components.base import base_executor

from components.base import Artifacts, Properties, uri
from core.errors import ConfigError
from core.files import staged_file

#: Where TFX's components look for it.
SCHEMA_FILE = "schema.pbtxt"


class Executor(base_executor.BaseExecutor):
    """Checks the schema and writes it."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class.

        Raises:
          ConfigError: the text is no schema.
        """
        text = exec_properties["schema_text"]
        try:
            text_format.Parse(text, schema_pb2.Schema())
        except text_format.ParseError as error:
            raise ConfigError(f"schema_dir: examples.pbtxt is no schema: {error}") from error
        folder = Path(uri(output_dict, "schema"))
        with staged_file(folder / SCHEMA_FILE) as staging:
            staging.write_text(text, encoding="utf-8")
