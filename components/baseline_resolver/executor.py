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
from components.bundle.mirror import mirrored
from components.bundle.span import parse_span, span_of

_log = logging.getLogger("tessera")


class Executor(base_executor.BaseExecutor):
    """Copies the baseline into the run's own artifacts, or says that there is none."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        bundle = artifact_utils.get_single_instance(output_dict["baseline"])
        model = artifact_utils.get_single_instance(output_dict["model"])
        with mirrored(exec_properties["serving_dir"], exec_properties["name"]) as serving_dir:
            baseline = resolve(
                serving_dir / exec_properties["name"],
                exec_properties["training_digest"],
                effective_span(exec_properties["span"], input_dict),
                data_fingerprint(input_dict),
            )
            write_outputs(baseline, Path(bundle.uri), Path(model.uri))
        version = 0 if baseline.found is None else baseline.found.version
        for artifact in (bundle, model):
            artifact.set_int_custom_property("found", int(baseline.found is not None))
            artifact.set_int_custom_property("version", version)
        _log.info("%s", baseline.reason)


def effective_span(span: str, input_dict: Mapping[str, Sequence[types.Artifact]]) -> int | None:
    """Returns the last day of the run's data, in days since 1970-01-01; None: no spans.

    Args:
      span: the component's parameter; '' means that of the examples.
      input_dict: the component's inputs.
    """
    given = parse_span(span)
    return span_of(input_dict["examples"][0]) if given is None else given


def data_fingerprint(input_dict: Mapping[str, Sequence[types.Artifact]]) -> str:
    """Returns the digest of the data that the examples were made from, '' when not recorded."""
    return str(input_dict["examples"][0].get_string_custom_property("fingerprint"))
