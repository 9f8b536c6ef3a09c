"""TFX executor of the BaselineResolver."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.baseline_resolver.resolve import resolve, write_outputs
from components.bundle.span import span_of
from core.errors import DataError

_log = logging.getLogger("tessera")

#: Value of the parameter `span` that means: take it from the examples.
SPAN_OF_EXAMPLES = -1


class Executor(base_executor.BaseExecutor):
    """Copies the baseline into the run's own artifacts, or says that there is none."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        span = effective_span(exec_properties["span"], input_dict)
        baseline = resolve(
            Path(exec_properties["serving_dir"]) / exec_properties["name"],
            exec_properties["training_digest"],
            span,
        )
        bundle = artifact_utils.get_single_instance(output_dict["baseline"])
        model = artifact_utils.get_single_instance(output_dict["model"])
        write_outputs(baseline, Path(bundle.uri), Path(model.uri))
        version = 0 if baseline.found is None else baseline.found.version
        for artifact in (bundle, model):
            artifact.set_int_custom_property("found", int(baseline.found is not None))
            artifact.set_int_custom_property("version", version)
        _log.info("%s", baseline.reason)


def effective_span(span: int, input_dict: Mapping[str, Sequence[types.Artifact]]) -> int:
    """Returns the span that this run trains on.

    Args:
      span: the component's parameter; -1 means that of the examples.
      input_dict: the component's inputs.

    Raises:
      DataError: the examples carry no span.
    """
    if int(span) != SPAN_OF_EXAMPLES:
        return int(span)
    examples = artifact_utils.get_single_instance(list(input_dict["examples"]))
    found = span_of(examples)
    if found is None:
        raise DataError(f"{examples.uri}: the examples carry no span; run the ingestion again")
    return found
